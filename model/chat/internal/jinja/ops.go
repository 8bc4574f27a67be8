package jinja

import (
	"math"
	"math/big"
	"math/bits"
	"strings"
	"unicode/utf8"
)

// binary is an arithmetic operator of Python.
func (m *machine) binary(op string, a, b any) any {
	if s, ok := a.(string); ok && op == "%" {
		return m.percent(s, plain(b))
	}
	m.useBoth(a, b)
	_, aIsMarkup := a.(markup)
	_, bIsMarkup := b.(markup)
	if aIsMarkup || bIsMarkup {
		if op != "+" {
			m.fail("'%s' with a string that is marked as safe is not supported", op)
		}
		return m.addMarkup(a, b)
	}
	switch x := a.(type) {
	case string:
		switch y := b.(type) {
		case string:
			if op == "+" {
				m.grow(len(x) + len(y))
				return x + y
			}
		case int64, bool:
			if op == "*" {
				return m.repeat(x, y)
			}
		}
	case *List:
		switch y := b.(type) {
		case *List:
			if op == "+" {
				return &List{m.joined(x.items, y.items)}
			}
		case int64, bool:
			if op == "*" {
				return &List{m.repeatItems(x.items, y)}
			}
		}
	case *Tuple:
		switch y := b.(type) {
		case *Tuple:
			if op == "+" {
				return &Tuple{m.joined(x.items, y.items)}
			}
		case int64, bool:
			if op == "*" {
				return &Tuple{m.repeatItems(x.items, y)}
			}
		}
	case int64, bool:
		if op == "*" {
			switch y := b.(type) {
			case string:
				return m.repeat(y, a)
			case *List:
				return &List{m.repeatItems(y.items, a)}
			case *Tuple:
				return &Tuple{m.repeatItems(y.items, a)}
			}
		}
	}
	return m.arithmetic(op, a, b)
}

func (m *machine) joined(a, b []any) []any {
	m.growItems(len(a) + len(b))
	return append(append(make([]any, 0, len(a)+len(b)), a...), b...)
}

// count is how often a sequence of n elements is repeated; the product is
// charged by the caller and kept in range here.
func (m *machine) count(n int, times any) int {
	k, _ := integer(times)
	if k <= 0 || n == 0 {
		return 0
	}
	if k > m.limits.Bytes/int64(n) {
		m.failLimit("bytes of memory", m.limits.Bytes)
	}
	return int(k)
}

func (m *machine) repeat(s string, times any) string {
	k := m.count(len(s), times)
	m.grow(k * len(s))
	return strings.Repeat(s, k)
}

func (m *machine) repeatItems(items []any, times any) []any {
	k := m.count(len(items), times)
	m.growItems(k * len(items))
	out := make([]any, 0, k*len(items))
	for range k {
		out = append(out, items...)
	}
	return out
}

func (m *machine) arithmetic(op string, a, b any) any {
	x, xf, xIsFloat, ok := number(a)
	y, yf, yIsFloat, ok2 := number(b)
	if !ok || !ok2 {
		for _, v := range []any{a, b} {
			if _, big := v.(*big.Int); big {
				m.fail("integers of more than 64 bits can only be printed and compared")
			}
		}
		m.fail("unsupported operand types for %s: '%s' and '%s'", op, typeName(a), typeName(b))
	}
	if (op == "/" || op == "//" || op == "%") && yf == 0 {
		m.fail("division by zero")
	}
	switch {
	case op == "/":
		return xf / yf
	case xIsFloat || yIsFloat:
		return m.floatArithmetic(op, xf, yf)
	case op == "**" && y < 0:
		return m.floatArithmetic(op, xf, yf)
	}
	switch op {
	case "+":
		if s := x + y; (s > x) == (y > 0) {
			return s
		}
	case "-":
		if d := x - y; (d < x) == (y > 0) {
			return d
		}
	case "*":
		if p, ok := mulInt(x, y); ok {
			return p
		}
	case "**":
		if p, ok := powInt(x, y); ok {
			return p
		}
	case "//", "%":
		if y == -1 { // the quotient overflows for the smallest integer
			if op == "%" {
				return int64(0)
			}
			return m.arithmetic("-", int64(0), x)
		}
		q, r := x/y, x%y
		if r != 0 && (r < 0) != (y < 0) { // Python rounds down
			q--
			r += y
		}
		if op == "//" {
			return q
		}
		return r
	}
	m.fail("integers of more than 64 bits are not supported")
	return nil
}

func mulInt(x, y int64) (int64, bool) {
	hi, lo := bits.Mul64(uint64(abs(x)), uint64(abs(y)))
	if hi != 0 || lo > math.MaxInt64 {
		return 0, false
	}
	if (x < 0) != (y < 0) {
		return -int64(lo), true
	}
	return int64(lo), true
}

func abs(x int64) int64 {
	if x < 0 {
		return -x // the smallest integer stays, as 1<<63 when unsigned
	}
	return x
}

func powInt(x, y int64) (int64, bool) {
	if x == 0 || x == 1 {
		if y == 0 {
			return 1, true
		}
		return x, true
	}
	if x == -1 {
		return 1 - 2*(y&1), true
	}
	p := int64(1)
	for range y { // at most 63 rounds, as |x| > 1
		var ok bool
		if p, ok = mulInt(p, x); !ok {
			return 0, false
		}
	}
	return p, true
}

func (m *machine) floatArithmetic(op string, x, y float64) any {
	switch op {
	case "+":
		return x + y
	case "-":
		return x - y
	case "*":
		return x * y
	case "//":
		return math.Floor((x - floorMod(x, y)) / y)
	case "%":
		return floorMod(x, y)
	}
	if x == 0 && y < 0 {
		m.fail("zero cannot be raised to a negative power")
	}
	if x < 0 && y != math.Trunc(y) {
		m.fail("complex numbers are not supported")
	}
	p := math.Pow(x, y)
	if math.IsInf(p, 0) && !math.IsInf(x, 0) && !math.IsInf(y, 0) {
		m.fail("result of ** too large")
	}
	return p
}

// floorMod is the remainder with the sign of y.
func floorMod(x, y float64) float64 {
	r := math.Mod(x, y)
	if r == 0 {
		return math.Copysign(0, y)
	}
	if (r < 0) != (y < 0) {
		r += y
	}
	return r
}

// slice is Python's v[from:to:step]; nil bounds are absent.
func (m *machine) slice(v, from, to, step any) any {
	m.use(v)
	if s, ok := v.(markup); ok {
		return markup(m.str(m.slice(string(s), from, to, step)))
	}
	var n int
	ascii := true
	switch v := v.(type) {
	case string:
		m.read(len(v))
		n = utf8.RuneCountInString(v)
		ascii = n == len(v)
	case *List:
		n = len(v.items)
	case *Tuple:
		n = len(v.items)
	case *rangeValue:
		n = int(v.n)
	default:
		m.fail("'%s' object cannot be sliced", typeName(v))
	}
	start, stop, k := m.sliceBounds(n, from, to, step)
	count := 0
	if k > 0 && start < stop {
		count = (stop-start-1)/k + 1
	} else if k < 0 && start > stop {
		count = (start-stop-1)/-k + 1
	}
	pick := func(items []any) []any {
		if k == 1 {
			return items[start : start+count : start+count]
		}
		m.growItems(count)
		out := make([]any, count)
		for i := range out {
			out[i] = items[start+i*k]
		}
		return out
	}
	switch v := v.(type) {
	case *List:
		return &List{pick(v.items)}
	case *Tuple:
		return &Tuple{pick(v.items)}
	case *rangeValue:
		return &rangeValue{v.at(int64(start)), v.step * int64(k), int64(count)}
	}
	s := v.(string)
	if ascii && k == 1 {
		return s[start : start+count]
	}
	m.grow(8 * len(s))
	chars := []rune(s)
	out := make([]rune, count)
	for i := range out {
		out[i] = chars[start+i*k]
	}
	return string(out)
}

func (m *machine) sliceBounds(n int, from, to, step any) (start, stop, k int) {
	index := func(v any, absent, low, high int) int {
		if v == nil {
			return absent
		}
		i, ok := integer(v)
		if !ok {
			m.use(v)
			m.fail("slice indices must be integers or None")
		}
		if i < 0 {
			i += int64(n)
		}
		return int(max(int64(low), min(i, int64(high))))
	}
	k = 1
	if step != nil {
		s, ok := integer(step)
		if !ok {
			m.use(step)
			m.fail("slice indices must be integers or None")
		}
		if s == 0 {
			m.fail("slice step cannot be zero")
		}
		// A step beyond the length picks one element, whatever its size.
		k = int(max(-int64(n)-1, min(s, int64(n)+1)))
	}
	if k > 0 {
		return index(from, 0, 0, n), index(to, n, 0, n), k
	}
	return index(from, n-1, -1, n-1), index(to, -1, -1, n-1), k
}
