package main

import (
	"encoding/binary"
	"fmt"
	"math/bits"

	"github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/ir"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// gpNumber is the number by which instruction encodings know a general-purpose register.
func gpNumber(r reg.Register) byte {
	for i, p := range []reg.Register{reg.RAX, reg.RCX, reg.RDX, reg.RBX, reg.RSP, reg.RBP, reg.RSI, reg.RDI,
		reg.R8, reg.R9, reg.R10, reg.R11, reg.R12, reg.R13, reg.R14, reg.R15} {
		if p == r {
			return byte(i)
		}
	}
	panic("not a 64-bit general-purpose register")
}

// vdpbf16ps encodes VDPBF16PS zmm[acc], zmm[w], dword ptr m {1to16}: EVEX.512.F3.0F38.W0 52 /r with the broadcast bit.
// The displacement must be a multiple of 4 (it is stored divided by 4 in one byte).
func vdpbf16ps(acc, w byte, m operand.Mem) []byte {
	if m.Disp%4 != 0 || m.Disp/4 < -128 || m.Disp/4 > 127 {
		panic(fmt.Sprintf("displacement %d does not fit", m.Disp))
	}
	b, x, scale := gpNumber(m.Base), byte(4), byte(0) // index 4: none
	if m.Index != nil {
		x, scale = gpNumber(m.Index), byte(bits.TrailingZeros8(m.Scale))
	}
	bit := func(v byte, n uint) byte { return v >> n & 1 }
	p0 := (1-bit(acc, 3))<<7 | (1-bit(x, 3))<<6 | (1-bit(b, 3))<<5 | (1-bit(acc, 4))<<4 | 2 // R X B R' 00 map 0F38
	p1 := (^w&15)<<3 | 1<<2 | 2                                                             // W0 vvvv 1 pp=F3
	p2 := byte(2<<5) | 1<<4 | (1-bit(w, 4))<<3                                              // z0 L'L=512 b=1 V' aaa=0
	code := []byte{0x62, p0, p1, p2, 0x52}
	modrm, disp := (acc&7)<<3, []byte{byte(int8(m.Disp / 4))}
	if m.Disp == 0 && b&7 != 5 {
		disp = nil
	} else {
		modrm |= 1 << 6
	}
	if m.Index == nil && b&7 != 4 {
		return append(append(code, modrm|b&7), disp...)
	}
	return append(append(code, modrm|4, scale<<6|(x&7)<<3|b&7), disp...)
}

// emit writes raw machine code where Go's assembler lacks the instruction, with its text as a comment.
func emit(text string, code []byte) {
	build.Comment(text)
	if len(code) >= 8 {
		directive("QUAD", operand.U64(binary.LittleEndian.Uint64(code)))
		code = code[8:]
	}
	if len(code) >= 4 {
		directive("LONG", operand.U32(binary.LittleEndian.Uint32(code)))
		code = code[4:]
	}
	if len(code) >= 2 {
		directive("WORD", operand.U16(binary.LittleEndian.Uint16(code)))
		code = code[2:]
	}
	for _, b := range code {
		directive("BYTE", operand.U8(b))
	}
}

func directive(name string, v operand.Op) {
	build.Instruction(&ir.Instruction{Opcode: name, Operands: []operand.Op{v}})
}

func dpbf16(acc, w int, m operand.Mem) {
	index := ""
	if m.Index != nil {
		index = fmt.Sprintf(" + %d*%v", m.Scale, m.Index.Asm())
	}
	emit(fmt.Sprintf("VDPBF16PS zmm%d, zmm%d, dword ptr [%v%s + %d]{1to16}", acc, w, m.Base.Asm(), index, m.Disp),
		vdpbf16ps(byte(acc), byte(w), m))
}
