"""Renders chat templates with transformers: the oracle of this package's tests.

Reads one JSON object a line and answers each with {"want": text} or
{"error": message}:

  {"template", "vars"}                      the template alone, on these variables
  {"template", "messages", "tools", "kwargs", "add_generation_prompt"}
                                            apply_chat_template on a request

A file name as the only argument is a tokenizer_config.json; its template stands
for the template "@config". The clock stands at 2026-07-04 05:06:07.000089.
"""

import datetime
import json
import sys

from transformers.utils import chat_template_utils as utils


class Clock(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return cls(2026, 7, 4, 5, 6, 7, 89)


utils.datetime = Clock


def message(m):
    """A message as the server's rules have it: null content is empty, lists of text parts are joined."""
    m = {k: v for k, v in m.items() if v is not None or k == "content"}
    content = m.get("content")
    if isinstance(content, list):
        content = "\n".join(part["text"] for part in content)
    m = {"role": m.pop("role", ""), **m, "content": content or ""}
    return m


def answer(case, config):
    template = config["chat_template"] if case["template"] == "@config" else case["template"]
    try:
        if "vars" in case:
            return {"want": utils._compile_jinja_template(template).render(**case["vars"])}
        rendered, _ = utils.render_jinja_template(
            conversations=[[message(m) for m in case["messages"]]],
            tools=case.get("tools"),
            chat_template=template,
            add_generation_prompt=case.get("add_generation_prompt", False),
            **case.get("kwargs", {}),
        )
        return {"want": rendered[0]}
    except RecursionError as e:
        return {"error": "RecursionError"}
    except Exception as e:
        return {"error": f"{type(e).__name__}: {e}"}


def main():
    config = {}
    if len(sys.argv) > 1:
        with open(sys.argv[1], encoding="utf-8") as f:
            config = json.load(f)
    sys.stdin.reconfigure(encoding="utf-8")
    sys.stdout.reconfigure(encoding="utf-8", errors="replace")
    for line in sys.stdin:
        print(json.dumps(answer(json.loads(line), config), ensure_ascii=True))


main()
