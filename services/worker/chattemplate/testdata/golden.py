#!/usr/bin/env python3
"""Remakes the golden files with Jinja2 itself, set up as transformers' apply_chat_template sets it up.

golden.py TEMPLATES OUT: for every TEMPLATES/x.jinja and conversation c it writes OUT/x.c.txt; the
prompt, or "!raised " and the template's message. Needs python3-jinja2.
"""
import datetime
import json
import pathlib
import sys

import jinja2
import jinja2.ext
from jinja2.sandbox import ImmutableSandboxedEnvironment

DATE = datetime.datetime(2026, 3, 5, 14, 7, 9)


class Raised(jinja2.TemplateError):
    pass


class Generation(jinja2.ext.Extension):
    tags = {"generation"}

    def parse(self, parser):
        next(parser.stream)
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        return body


def raise_exception(message):
    raise Raised(message)


def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
    return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def main(templates, out):
    env = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, jinja2.ext.loopcontrols])
    env.filters["tojson"] = tojson
    env.globals["raise_exception"] = raise_exception
    env.globals["strftime_now"] = lambda layout: DATE.strftime(layout)
    conversations = json.loads((pathlib.Path(__file__).parent / "conversations.json").read_text())
    for path in sorted(pathlib.Path(templates).glob("*.jinja")):
        template = env.from_string(path.read_bytes().decode())
        for name, c in conversations.items():
            try:
                text = template.render(
                    messages=c["messages"], tools=c.get("tools"), documents=None,
                    add_generation_prompt=c.get("add_generation_prompt", True),
                    bos_token="<BOS>", eos_token="<EOS>", **c.get("extra", {}))
            except Raised as e:
                text = "!raised " + str(e)
            except Exception as e:  # the template itself fails on this conversation
                text = "!failed " + type(e).__name__ + " " + str(e)
            (pathlib.Path(out) / f"{path.stem}.{name}.txt").write_bytes(text.encode())


if __name__ == "__main__":
    main(*sys.argv[1:])
