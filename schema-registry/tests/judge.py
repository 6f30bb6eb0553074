#!/usr/bin/env python3
"""Judges payloads with implementations that are not Certes.

The first argument is a folder of .proto files, the second one a folder they may import from.
Each line of standard input is a question, each line of standard output its answer, both in JSON:

    {"file": "a.proto", "message": "A", "reject_unknown": true, "json": "{}"}
    {"accepted": false, "why": "..."}

The protobuf runtime of Python reads the payload by the protobuf JSON mapping. With "rules", what it
reads is given to protovalidate, and "broken" lists what it says as [path, rule].

    pip install grpcio-tools protovalidate
"""

import json
import pathlib
import sys
import tempfile

import grpc_tools
import protovalidate
from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory
from grpc_tools import protoc


def load(folder, imports, name):
    """A pool that holds a file and everything it imports."""
    include = pathlib.Path(grpc_tools.__file__).parent / "_proto"
    with tempfile.TemporaryDirectory() as out:
        out = pathlib.Path(out) / "set"
        paths = [f"-I{folder}", f"-I{imports}", f"-I{include}"]
        arguments = ["protoc", *paths, "--include_imports", f"--descriptor_set_out={out}", name]
        if protoc.main(arguments) != 0:
            sys.exit(f"protoc refuses {name}")
        files = descriptor_pb2.FileDescriptorSet.FromString(out.read_bytes())
    pool = descriptor_pool.DescriptorPool()
    for file in files.file:
        pool.Add(file)
    return pool


def text_of(path):
    """A field path as Certes writes it."""
    text = ""
    for element in path.elements:
        text += f".{element.field_name}" if text else element.field_name
        which = element.subscript
        if which is None:
            continue
        field = which.field
        value = which.value
        if field == "index":
            text += f"[{value}]"
        else:
            text += f".{str(value).lower() if field == 'bool_key' else value}"
    return text


def broken(message):
    """What protovalidate finds, as [path, rule]."""
    found = []
    for violation in protovalidate.collect_violations(message):
        proto = violation.proto
        found.append([text_of(proto.field) if proto.field else "", proto.rule_id])
    return found


def answer(pools, folder, imports, question):
    """The verdict on one payload."""
    name = question["file"]
    if name not in pools:
        pools[name] = load(folder, imports, name)
    pool = pools[name]
    kind = message_factory.GetMessageClass(pool.FindMessageTypeByName(question["message"]))
    try:
        message = json_format.Parse(
            question["json"], kind(), descriptor_pool=pool,
            ignore_unknown_fields=not question["reject_unknown"])
    except Exception as error:  # it fails in many ways on what it does not take
        return {"accepted": False, "why": f"{type(error).__name__}: {error}"[:200]}
    if not question.get("rules"):
        return {"accepted": True}
    try:
        found = broken(message)
    except Exception as error:
        return {"accepted": False, "why": f"{type(error).__name__}: {error}"[:200]}
    return {"accepted": not found, "broken": found}


def main():
    folder, imports = sys.argv[1:]
    pools = {}
    for line in sys.stdin:
        print(json.dumps(answer(pools, folder, imports, json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
