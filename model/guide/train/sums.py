"""Small sums: one- and two-digit + and -, one-digit times."""

NAMES = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen "
    "fourteen fifteen sixteen seventeen eighteen nineteen twenty"
).split()

FORMS = {
    "+": ["{a} + {b}", "{a}+{b}", "{a} + {b} =", "{a} plus {b}", "{a} and {b}", "the sum of {a} and {b}"],
    "-": ["{a} - {b}", "{a}-{b}", "{a} - {b} =", "{a} minus {b}", "{a} less {b}"],
    "*": ["{a} * {b}", "{a}*{b}", "{a} x {b}", "{a} times {b}", "{a} × {b}", "the product of {a} and {b}"],
}
ASK = ["what is ", "what's ", "how much is ", "calculate ", "compute ", "what does ", "tell me ", "", "", ""]
VERB = {
    "+": ["add {a} and {b}", "add {b} to {a}", "can you add {a} and {b}"],
    "-": ["subtract {b} from {a}", "take {b} from {a}", "take {b} away from {a}"],
    "*": ["multiply {a} by {b}", "multiply {a} and {b}", "can you multiply {a} by {b}"],
}
TOO_HARD = "That sum is too hard for me: I do plus and minus with two digits and small products."


def held_out(a, op, b):
    """Sums that are never trained on, so that the test measures adding and
    not remembering. One-digit ones have to be known."""
    return op != "*" and a > 9 and b > 9 and (7 * a + 13 * b) % 11 == 3


def value(a, op, b):
    return {"+": a + b, "-": a - b, "*": a * b}[op]


def thought(a, op, b):
    """The written method, digit by digit."""
    r = value(a, op, b)
    if op == "*":
        return f"{a} times {b} is {r}."
    if op == "-" and a < b:
        return f"{b} is larger, so the result is negative. {b} - {a} = {-r}, so {a} - {b} = {r}."
    (a1, a0), (b1, b0) = divmod(a, 10), divmod(b, 10)
    if op == "+":
        ones = a0 + b0
        if ones > 9:
            return f"Ones: {a0} + {b0} = {ones}, carry 1. Tens: {a1} + {b1} + 1 = {a1 + b1 + 1}. Together {r}."
        return f"Ones: {a0} + {b0} = {ones}. Tens: {a1} + {b1} = {a1 + b1}. Together {r}."
    if a0 < b0:
        return f"Ones: {a0 + 10} - {b0} = {a0 + 10 - b0}, borrow 1. Tens: {a1} - {b1} - 1 = {a1 - b1 - 1}. Together {r}."
    return f"Ones: {a0} - {b0} = {a0 - b0}. Tens: {a1} - {b1} = {a1 - b1}. Together {r}."


def draw(rng):
    """A question, its answer and the thought, as a triple."""
    if rng.random() < 0.04:  # what it cannot do
        a, b = rng.randrange(2, 100), rng.randrange(2, 100)
        q = rng.choice(
            [
                f"{rng.randrange(100, 10000)} {rng.choice('+-*')} {rng.randrange(100, 10000)}",
                f"what is {rng.randrange(100, 5000)} {rng.choice(['plus', 'minus', 'times'])} {b}",
                f"what is {a} / {b}",
                f"what is {a} divided by {b}",
                f"what is the square root of {a}",
                f"what is {rng.randrange(11, 100)} times {rng.randrange(11, 100)}",
            ]
        )
        return q, TOO_HARD, "This sum is larger than those that I can do."
    while True:
        op = rng.choice("++++---*")
        if op == "*":
            a, b = rng.randrange(0, 11), rng.randrange(0, 11)
        else:
            top = rng.choice([10, 21, 100, 100, 100])
            a, b = rng.randrange(0, top), rng.randrange(0, top)
            if op == "-" and a < b and rng.random() < 0.75:
                a, b = b, a
        if not held_out(a, op, b):
            break
    if rng.random() < 0.12:
        text = rng.choice(VERB[op])
    else:
        form = rng.choice(FORMS[op])
        ask = rng.choice(ASK)
        if not ask and (" and " in form or rng.random() < 0.3):
            ask = "what is "
        text = ask + form
        if form.endswith("=") and rng.random() < 0.6:
            text += " ?"
        if ask == "what does ":
            text += " make"
    words = a <= 20 and b <= 20 and rng.random() < 0.08
    text = text.format(a=NAMES[a] if words else a, b=NAMES[b] if words else b)
    sign = "×" if op == "*" else op
    return text, f"{a} {sign} {b} = {value(a, op, b)}.", thought(a, op, b)
