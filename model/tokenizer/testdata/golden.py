"""Makes small.json, a byte-level BPE tokenizer of some 1,400 tokens with Qwen3's pattern
and added tokens, and golden.json: hard texts with the ids that the `tokenizers` package
gives for them, by small.json and by Qwen3's own tokenizer.

    python testdata/golden.py DIRECTORY_OF_QWEN3_TOKENIZER_JSON
"""

import json
import os
import sys

from tokenizers import AddedToken, Tokenizer, pre_tokenizers, trainers

HERE = os.path.dirname(os.path.abspath(__file__))

# What small.json learns its merges from.
CORPUS = """
The quick brown fox jumps over the lazy dog. Pack my box with five dozen liquor jugs.
It was the best of times, it was the worst of times; we're sure they'll say I've won.
A tokenizer splits text into words, writes the bytes of each and merges pairs of them.
func main() { for i := 0; i < 10; i++ { fmt.Println("hello, world", i) } }
def add(a, b):\n    return a + b\n\n\nif __name__ == "__main__":\n    print(add(1, 2))
{"name": "get_weather", "arguments": {"city": "Paris", "unit": "celsius", "days": 3}}
Falsches Üben von Xylophonmusik quält jeden größeren Zwerg. Straße, Mädchen, schön.
Voix ambiguë d'un cœur qui au zéphyr préfère les jattes de kiwis. L'été où il naît.
El pingüino Wenceslao hizo kilómetros bajo exhaustiva lluvia y frío, añoraba a su niño.
Съешь же ещё этих мягких французских булок, да выпей чаю. Привет, как дела сегодня?
Ξεσκεπάζω την ψυχοφθόρα βδελυγμία. Καλημέρα κόσμε, τι κάνεις σήμερα;
עטלף אבק נס דרך מזגן שהתפוצץ כי חם. שלום עולם, מה שלומך היום?
نص حكيم له سر قاطع وذو شأن عظيم مكتوب على ثوب أخضر. مرحبا بالعالم كيف حالك
ऋषियों को सताने वाले दुष्ट राक्षसों के राजा रावण का सर्वनाश। नमस्ते दुनिया
เป็นมนุษย์สุดประเสริฐเลิศคุณค่า กว่าบรรดาฝูงสัตว์เดรัจฉาน สวัสดีชาวโลก
天地玄黄，宇宙洪荒。日月盈昃，辰宿列张。你好，世界！今天天气怎么样？
いろはにほへと ちりぬるを。こんにちは世界、カタカナも書けます。
키스의 고유조건은 입술끼리 만나야 하고 특별한 기술은 필요치 않다. 안녕하세요 세계
😀 😃 😄 👍🏽 ❤️ 👨‍👩‍👧‍👦 🇩🇪 🇫🇷 ✨ 🚀 — “quoted” ‘text’ … • → ≤ ≥ ∑ √ ∞
2024-01-31 12:34:56 3.14159 1,000,000 0xFF 1e-9 50% $19.99 #42 @user http://a.b/c?d=e&f=g
"""

# Texts where tokenizers go wrong.
TEXTS = [
    # nothing, and white space of every kind
    "", " ", "  ", "   ", "\n", "\r\n", "\r", "\n\n", "\t", "\t\t", " \n", "\n ", " \n \n ", "  \n\n  x", "x \n", "x  \n\ny",
    "a b", "a  b", "a   b", " a", "  a", "a ", "a  ", "\ta", "\t\ta", "a\tb", "a \tb", "a\t b", "\n\na", "a\n\n b", "a\r\n\r\nb",
    "\x0b\x0c", "a\x0bb", "a\x85b", "\x85\x85 ", "\xa0", "a\xa0b", "\xa0\xa0b", "a\u1680b", "\u2000\u2001\u2002a", "a\u2003 b",
    "\u2028\u2029", "a\u2028b", "\u202f5", "\u205f\u3000", "\u3000漢字\u3000", "\u180ea", "\u200b", "a\u200bb", "\u200b \u200b", "\ufeffa",
    "\u2060a", "a\u00adb", "\x00", "a\x00b", "\x1c\x1d\x1e\x1f", "\x7f", "   \n   \n   a", "a\n \t\n\tb", "    return x\n\n\n    y",
    # contractions
    "I'm", "I'M", "he's", "HE'S", "they'Re", "WE'VE", "we'Ll", "i'D", "it'ſ", "it'ſt", "'s", "''s", "'S's", "'t'T", "'re", "'r", "'l", "'ll", "'lL",
    "don't", "don’t", "l'été", "'sun", "'tis", "'mid", "o'd", " 's", "a 's", "'\u017f", "'\u212a", "'ﬆ", "'ſs", "'vE", "'V", "can't've", "rock'n'roll", "x'm'd'll",
    "'\u0301s", "'s\u0301", "\"'s\"", "1's", "1'st", "\n's", "\u2019s",
    # digits of every kind
    "1", "12", "123", "1234567890", "1,234.5", "a1b2", "1a", "½", "½½", "²³", "x²", "①②", "Ⅷ", "٣٤٥", "१२३", "૧૨", "一二三", "〇", "𝟘𝟙", "🄀", "1️⃣", "௧௰", "٫1", "0x1F", "1e5", "\U00010140", "\U0001e950",
    # letters and marks
    "e\u0301", "\u00e9", "E\u0301a", "a\u0301\u0302", "a\u0323\u0301", "a\u0301\u0323", "q\u0307\u0323", "\u1e0b\u0323", "\u0301", "\u0301a", " \u0301", "\n\u0301",
    "A\u030a", "\u212b", "\u2126", "K", "\u1e9b\u0323", "\ufb01", "ﬀ", "ǆ", "İ", "i\u0307", "ı", "ß", "ẞ", "ŉ", "\u0344", "\u0340\u0341\u0343", "\u0374", "\u037e", "\u0387",
    "\u1f71", "\u1fbe", "\u2000\u2001", "\u2329x\u232a", "\uf900", "\ufa1d", "\U0002f800", "\U0002fa1d", "\ufb1d", "\ufb2a", "\u0958", "\u09dc", "\u0a33", "\u0b5c", "\u0f43", "\u0f73", "\u0f75", "\u0f81",
    "\u0f71\u0f72", "\u0f72\u0f71", "\u0f71\u0f74\u0f72", "\u1100\u1161", "\u1100\u1161\u11a8", "\uac00\u11a8", "\uac01\u11a8", "\u1100", "\u1161", "\u11a8", "\uac00", "\uac00\u1161", "\u1100\u1161\u0301\u11a8",
    "\u1112\u1161\u11ab\u1100\u1173\u11af", "\u115f\u1160", "\u3131\u314f", "\ua960\ud7b0", "\u09c7\u09be", "\u0b47\u0b56", "\u0bc6\u0bbe", "\u0cc6\u0cc2\u0cd5", "\u0d46\u0d57", "\u0dd9\u0dcf\u0dca", "\u1025\u102e",
    "\u1b05\u1b35", "\U00011099\U000110ba", "\U00011131\U00011127", "\U00011347\U0001133e", "\U000114b9\U000114ba", "\U00011935\U00011930", "\U00011938", "\U0001d15e", "\U0001d157\U0001d165", "\U0001d1bb\U0001d16e",
    "\u0928\u093c", "\u0929", "\u3046\u3099", "\u304b\u3099\u304d", "\u30ab\u3099", "\u30cf\u309a", "\uff76\uff9e", "a" + "\u0301" * 5, "a" + "\u0323\u0301" * 20, "a" + "\u0301" * 40 + "\u0323" * 40 + "b", "\u0345\u0301", "a\u0345\u0300\u0323",
    "\u1ac0\u0323", "a\u1ac5\u0323", "\u0898\u0323", "a\u1df6\u0301\u0327", "\U00010efd\u0301", "a\u08d3\u0301", "o\u0328\u0304", "o\u0304\u0328", "\u01ed", "\u1e17", "ē\u0301", "u\u0308\u030c", "\u01da", "s\u0323\u0307", "ṩ",
    "<\u0338", "=\u0338", ">\u0338", "\u226f", "\u2260", "<think>\u0338", "<|im_end|>\u0338x", "\u0338<|im_end|>",
    # scripts
    "Grüße", "naïve café", "Zürich", "Ελληνικά", "Привет, мир!", "ЁЖИК", "שָׁלוֹם", "العَرَبِيَّةُ", "\u202babc\u202c", "\u200fا\u200e", "नमस्ते", "क्षत्रिय", "ক্ষ", "தமிழ்", "ไทยภาษา", "ພາສາລາວ", "ကမ္ဘာ", "ខ្មែរ", "བོད་ཡིག",
    "漢字かなカナ", "你好，世界。", "全角ＡＢＣ１２３", "한국어 텍스트", "ქართული", "አማርኛ", "ᚠᚢᚦ", "𐌰𐌱𐌲", "𝔘𝔫𝔦", "𝓐𝓑", "ǅ", "ʰʷ", "ªº", "ᴬ", "\u2160\u2161", "\u3007", "\u16ee", "\U00012400", "\U0001f100", "x\u20dd", "\U00013460", "\u1c89\u1c8a", "\ua7cb",
    # emoji
    "😀", "👍🏽", "👨‍👩‍👧‍👦", "🏳️‍🌈", "🇩🇪🇫🇷", "❤️", "☺", "☺️", "✌🏿️", "🧑🏻‍🤝‍🧑🏿", "a😀b", "😀😀😀", " 😀", "😀 \n", "©®™", "🫠", "#️⃣", "\U000e0067\U000e0062", "🏴󠁧󠁢󠁥󠁮󠁧󠁿",
    # punctuation
    "!", "!!", "...", " ...", "...\n", "!\n\n", "!\r\nx", "! \n", "a.b", "a.B", "a_b", "_a", "__init__", "--", "—", "a—b", "…", "“q”", "«q»", "¿qué?", "¡", "$5", "€5", "5€", "50%", "#tag", "@me", "C++", "a/b", "\\n", "\\", "`x`", "```\ncode\n```",
    "{}", "[]", "()", "({[<>]})", "<a>", "</a>", "&amp;", "http://x.y/z?a=b#c", "a@b.co", "^_^", "(╯°□°)╯︵ ┻━┻", "\ue000", "\U000f0000", "\ufffd", "\ufffe", "\uffff", "\U0010ffff", "\u0378", "\ud7a4", "\u2e80", "*\u0301", " .a", " .1", "\t.", ".\t", "!'s", "\"a", "'a", "\ta\tb", "-1", "+1", " -", "=>\n=>",
    # added tokens
    "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n", "<|im_start|>", "<|im_end|><|im_end|>", " <|im_end|> ", "<|im_end|", "<|im_end|>|>", "<<|im_end|>", "|im_end|>", "<|IM_END|>", "< |im_end|>", "<|endoftext|>a", "a<|endoftext|>",
    "<think>\n\n</think>\n\n", "<think>", "</think>", "<think", "<thinking>", "</ think>", "<tool_call>\n{\"name\": \"f\"}\n</tool_call>", "<tool_response>x</tool_response>", "<|fim_prefix|>a<|fim_suffix|>b<|fim_middle|>", "<|vision_start|><|image_pad|><|vision_end|>",
    "e<|im_end|>\u0301", "\u1100<|im_end|>\u1161", "'<|im_end|>s", "a <|im_end|> 's", "  <think>  ", "\n<think>\n", "<|repo_name|>x<|file_sep|>", "<|im_start|><|im_start", "＜|im_end|＞", "<|im_\u200bend|>",
    # longer
    "The quick brown fox jumps over the lazy dog.", "    def f(self, x: int) -> str:\n        return f\"{x!r}\"\n\n\n", "SELECT * FROM t WHERE a='b' AND c<>'d';", "for(int i=0;i<n;++i){a[i]+=b[i];}", "a" * 100, "ab" * 50, " " * 100, "\n" * 50, "." * 100, "0" * 40, "=" * 80 + "\n", "-" * 79, "a" * 47, "a" * 48, "a" * 49, "abc " * 30, "the" * 60, "漢" * 60, "é" * 40, "e\u0301" * 40, "Ģ" * 9, "Ġthe Ċ", "supercalifragilisticexpialidocious", "Donaudampfschifffahrtselektrizitätenhauptbetriebswerkbauunterbeamtengesellschaft",
    "ZALGO Z\u0351\u036b\u0343\u036a\u0302\u036b\u033d\u034f\u0334\u0319\u0324\u031e\u0349\u035a\u032f\u031e\u0320\u034dA\u036b\u0357\u0334\u0362\u0335\u031c\u0330\u0354L\u0368\u0367\u0369\u0358\u0320G\u0311\u0357\u030e\u0305\u035b\u0341\u0334\u033b\u0348\u034d\u0354\u0339O\u0342\u030c\u030c\u0358\u0328\u0335\u0339\u033b\u031d\u0333",
]


def small(added):
    """A tokenizer as Qwen3's is, but with few merges."""
    spec = json.load(open(os.path.join(sys.argv[1], "tokenizer.json"), encoding="utf-8"))
    spec["model"]["vocab"], spec["model"]["merges"], spec["added_tokens"] = {}, [], []
    t = Tokenizer.from_str(json.dumps(spec))
    trainer = trainers.BpeTrainer(
        vocab_size=2048 - len(added),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    t.train_from_iterator([CORPUS] * 4, trainer)
    t.add_tokens([AddedToken(a["content"], normalized=False, special=a["special"]) for a in added])
    return t


def main():
    qwen3 = Tokenizer.from_file(os.path.join(sys.argv[1], "tokenizer.json"))
    added = json.loads(qwen3.to_str())["added_tokens"]
    t = small(added)
    t.save(os.path.join(HERE, "small.json"), pretty=False)
    print(t.get_vocab_size(), "tokens")
    cases = []
    for text in TEXTS:
        case = {"text": text}
        for name, tok in ("small", t), ("qwen3", qwen3):
            ids = tok.encode(text, add_special_tokens=False).ids
            case[name] = ids
            kept, skipped = (tok.decode(ids, skip_special_tokens=s) for s in (False, True))
            # both decode alike: what comes back is the normalized text
            case["decoded"], case["skipped"] = kept, skipped
        cases.append(case)
    with open(os.path.join(HERE, "golden.json"), "w", encoding="utf-8") as f:
        f.write("[\n" + ",\n".join(json.dumps(c, separators=(",", ":")) for c in cases) + "\n]\n")
    print(len(cases), "texts")


main()
