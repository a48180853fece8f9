"""A small edit of an ONNX file, byte by byte: drop every graph input but the real one.

Old exporters list a graph's weights among its inputs, as defaults that a caller may replace. OpenCV 5 (and onnxruntime)
then wait for a value of each. The weights themselves stay where they are, in the graph's initialisers, so dropping the
entries changes no output.

An ONNX file is one protobuf message (https://protobuf.dev/programming-guides/encoding/): a chain of fields, each a
varint `number << 3 | kind` and a value. Of onnx.proto only these are needed: ModelProto.graph = 7, GraphProto.input =
11 and ValueInfoProto.name = 1, all of kind 2 (a varint length and so many bytes). What is not understood is copied.
"""

from __future__ import annotations

from collections.abc import Iterator

_MODEL_GRAPH = 7
_GRAPH_INPUT = 11
_INPUT_NAME = 1


def keep_input(model: bytes, name: str) -> bytes:
    """Return `model` (the content of an ONNX file) with `name` as its graph's only input.

    Raises:
        ValueError: the bytes are no ONNX model, or its graph has no such input.
    """
    found = False
    parts = []
    for number, value, raw in _fields(model):
        if number == _MODEL_GRAPH and value is not None:
            graph, found = _graph_with(value, name.encode())
            raw = _varint(_MODEL_GRAPH << 3 | 2) + _varint(len(graph)) + graph
        parts.append(raw)
    if not found:
        raise ValueError(f"the graph has no input {name!r}")
    return b"".join(parts)


def _graph_with(graph: bytes, name: bytes) -> tuple[bytes, bool]:
    """Copy the fields of a GraphProto but the inputs of other names; tell whether `name` was there."""
    found = False
    parts = []
    for number, value, raw in _fields(graph):
        if number == _GRAPH_INPUT and value is not None:
            if not any(field == _INPUT_NAME and text == name for field, text, _ in _fields(value)):
                continue
            found = True
        parts.append(raw)
    return b"".join(parts), found


def _fields(message: bytes) -> Iterator[tuple[int, bytes | None, bytes]]:
    """Walk a message: field number, content (for kind 2, else None), and the field's bytes as they stand."""
    position = 0
    while position < len(message):
        key, body = _read_varint(message, position)
        value: bytes | None = None
        match key & 7:
            case 0:
                end = _read_varint(message, body)[1]
            case 1:
                end = body + 8
            case 2:
                length, start = _read_varint(message, body)
                end = start + length
                value = message[start:end]
            case 5:
                end = body + 4
            case kind:
                raise ValueError(f"a field of the unknown kind {kind}: this is no ONNX model")
        if end > len(message):
            raise ValueError("a field ends behind the end: the model is cut off")
        yield key >> 3, value, message[position:end]
        position = end


def _read_varint(data: bytes, position: int) -> tuple[int, int]:
    """Seven bits a byte, the lowest first; return the number and where it ended."""
    number = 0
    for shift in range(0, 70, 7):
        if position >= len(data):
            break
        byte = data[position]
        position += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, position
    raise ValueError("a number does not end: this is no ONNX model")


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)
