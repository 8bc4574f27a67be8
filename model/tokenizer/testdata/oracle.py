"""What the `tokenizers` package makes of texts, for the tests.

    python testdata/oracle.py TOKENIZER_JSON < texts > results

A line of input is the text's bytes in base64, or "!" and ids separated by commas. A line
of output is JSON: the ids, and what they decode to with and without special tokens.
"""

import base64
import json
import sys

from tokenizers import Tokenizer

t = Tokenizer.from_file(sys.argv[1])
for line in sys.stdin:
    line = line.strip()
    if line.startswith("!"):
        ids = [int(i) for i in line[1:].split(",") if i]
    else:
        text = base64.b64decode(line).decode("utf-8", errors="replace")
        ids = t.encode(text, add_special_tokens=False).ids
    kept, skipped = (t.decode(ids, skip_special_tokens=s) for s in (False, True))
    print(json.dumps({"ids": ids, "kept": kept, "skipped": skipped}))
