"""Payload decoding: every form that writers of `eventos` use, within strict limits.

Recognised, in layers: zstd, gzip and zlib by their magic bytes, base64 inside `{"data": …}`, and
JSON, also with quotes that were escaped once too often, as the spec's simulation commands do.
"""

from __future__ import annotations

import base64
import binascii
import json
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
import zstandard

ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
GZIP_MAGIC = b"\x1f\x8b"
_URL_SAFE = str.maketrans("-_", "+/")
_LIST = ord("[")  # a number is found in bytes ten times as fast as bytes are
_UNCOUNTED = 1 << 30  # brackets; of an object that was no text
_TEXT = (bytes, str, bytearray, memoryview)
_MAX_DIGITS = 300  # a longer integer is beyond any float, so no rule could compare it


@dataclass(frozen=True, slots=True)
class Limits:
    """What a payload may ask of us at the most.

    Attributes:
        max_bytes: decompressed size, in bytes.
        max_window: window of a zstd frame, in bytes.
        max_depth: nesting of the JSON.
        max_nodes: objects and lists in the JSON: each costs far more time than its two bytes.
        max_members: frames or members of one compressed payload.
        max_layers: `{"data": …}` wrappers around the object.
    """

    max_bytes: int = 1 << 20
    max_window: int = 8 << 20
    max_depth: int = 64
    max_nodes: int = 100_000
    max_members: int = 100
    max_layers: int = 2


class DecodeError(ValueError):
    """A payload that cannot be read; its text is the reason, for a person."""


class Decoder:
    """Decodes payloads; keeps one decompressor, so an instance belongs to one thread at a time."""

    def __init__(self, limits: Limits | None = None) -> None:
        self._limits = limits or Limits()
        self.decoded_bytes = 0
        """Bytes of JSON that were read so far; whoever has to stay within a budget resets it."""
        self._brackets = 0  # of the payload in hand, at the least as many as its JSON is deep
        self._zstd = zstandard.ZstdDecompressor(max_window_size=self._limits.max_window)
        self._decompress_frame = self._zstd.decompress
        self._decode_json = msgspec.json.Decoder().decode
        self._max_bytes = self._limits.max_bytes
        # As many brackets at the most as objects may be nested: neither deep nor many.
        self._few = min(self._limits.max_depth, self._limits.max_nodes)

    def decode(self, payload: bytes | str | Mapping[str, Any]) -> dict[str, Any]:
        """Returns the JSON object that `payload` carries.

        Raises:
            DecodeError: with the reason, in Spanish.
        """
        return self._read(payload, self._plain(payload))

    def decode_unless(
        self, payload: bytes | str | Mapping[str, Any], is_nothing: Callable[[bytes], bool]
    ) -> dict[str, Any] | None:
        """Returns what `decode` does, or None where `is_nothing` says that of an object's JSON.

        It is asked about JSON in ASCII alone: whoever skips a text does not see broken UTF-8.

        Raises:
            DecodeError: with the reason, in Spanish.
        """
        text = self._plain(payload)
        if text is not None and text.isascii() and is_nothing(text):
            self.decoded_bytes += len(text)
            return None
        return self._read(payload, text)

    def _read(self, payload: bytes | str | Mapping[str, Any], text: bytes | None) -> dict[str, Any]:
        """Reads a payload whose text is known, if it is a plain one."""
        data = None if text is None else self._object(text)
        return self._by_layers(payload) if data is None else data

    def _by_layers(self, payload: bytes | str | Mapping[str, Any]) -> dict[str, Any]:
        value: Any = payload
        self._brackets = 0 if isinstance(payload, _TEXT) else _UNCOUNTED
        for _ in range(self._limits.max_layers + 1):
            if isinstance(value, _TEXT):
                value = self._parse(value)
                if isinstance(value, str):  # JSON inside a JSON string: encoded twice
                    continue
            if type(value) is not dict and not isinstance(value, Mapping):
                raise DecodeError(f"se esperaba un objeto JSON y se encontró {_kind(value)}")
            if not _is_wrapper(value):
                data = value if type(value) is dict and value is not payload else dict(value)
                if self._brackets > self._limits.max_depth:
                    self._check_depth(data)
                return data
            value = self._unwrap(value["data"])
        raise DecodeError(f'más de {self._limits.max_layers} envolturas {{"data": …}}')

    def _plain(self, payload: bytes | str | Mapping[str, Any]) -> bytes | None:
        """Returns the text of what nearly all payloads are, a small object in zstd; None: another.

        What is refused, and why, the long way says.
        """
        if type(payload) is not bytes or not payload.startswith(ZSTD_MAGIC):
            return None
        try:
            if not 0 < zstandard.frame_content_size(payload) <= self._max_bytes:
                return None
            # By their places: max_output_size, read_across_frames, allow_extra_data. By their names
            # it takes 0.4 us more, of six.
            text = self._decompress_frame(payload, 0, False, False)
        except zstandard.ZstdError:
            return None
        brackets = text.count(b"{") + (text.count(b"[") if _LIST in text else 0)
        return text if brackets <= self._few else None

    def _object(self, text: bytes) -> dict[str, Any] | None:
        try:
            data = self._decode_json(text)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return None
        if type(data) is not dict or (len(data) == 1 and _is_wrapper(data)):
            return None
        self.decoded_bytes += len(text)
        return data

    def _unwrap(self, inner: Any) -> Any:
        if not isinstance(inner, str):
            return inner
        text = inner.strip()
        if text[:1] in ("{", "["):
            return text
        return self._decompress(_from_base64(text))

    def _parse(self, payload: str | bytes | bytearray | memoryview) -> Any:
        if isinstance(payload, str):
            if len(payload) > self._limits.max_bytes:
                raise DecodeError(self._too_large())
            self.decoded_bytes += len(payload)
            return self._parse_json(payload)
        raw = self._decompress(payload if type(payload) is bytes else bytes(payload))
        self.decoded_bytes += len(raw)
        self._count_brackets(raw.count(b"{") + raw.count(b"["))
        try:
            # The common case: plain JSON in UTF-8, read without building a str first.
            return msgspec.json.decode(raw)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return self._parse_json(_to_text(raw))

    def _parse_json(self, text: str) -> Any:
        text = text.strip().removeprefix("\ufeff")
        if text.startswith('{\\"'):
            text = _unescape_once(text)
        self._count_brackets(text.count("{") + text.count("["))
        try:
            # strict=False: `base64` wraps its lines, which leaves raw line breaks inside a string.
            return json.loads(text, strict=False, parse_int=_parse_int)
        except RecursionError:
            raise DecodeError("JSON anidado en exceso") from None
        except ValueError as error:
            raise DecodeError(f"JSON inválido: {error}") from None

    def _decompress(self, raw: bytes) -> bytes:
        if raw[:4] == ZSTD_MAGIC:
            raw = self._from_zstd(raw)
        elif raw[:2] == GZIP_MAGIC:
            raw = self._from_deflate(raw, wbits=31, name="gzip")
        elif _looks_like_zlib(raw):
            raw = self._from_deflate(raw, wbits=15, name="zlib")
        if len(raw) > self._limits.max_bytes:
            raise DecodeError(self._too_large())
        return raw

    def _from_zstd(self, raw: bytes) -> bytes:
        out: list[bytes] = []
        room = self._limits.max_bytes
        for _ in range(self._limits.max_members):
            piece, raw = self._zstd_frame(raw, room)
            out.append(piece)
            room -= len(piece)
            if not raw:
                return b"".join(out)
        raise DecodeError(f"zstd con más de {self._limits.max_members} tramas")

    def _zstd_frame(self, raw: bytes, room: int) -> tuple[bytes, bytes]:
        try:
            size = zstandard.frame_content_size(raw)
            if size > room:
                raise DecodeError(self._too_large())
            if size < 0:
                # The frame does not state its size: measure it with a bounded reader before the
                # decompression object, which would hand out whatever it expands to.
                with self._zstd.stream_reader(raw, read_across_frames=False) as reader:
                    if len(reader.read(room + 1)) > room:
                        raise DecodeError(self._too_large())
            frame = self._zstd.decompressobj()
            piece = frame.decompress(raw)
        except zstandard.ZstdError as error:
            raise DecodeError(f"zstd dañado: {error}") from None
        if not frame.eof:
            raise DecodeError("zstd truncado: la trama no termina")
        return piece, frame.unused_data

    def _from_deflate(self, raw: bytes, wbits: int, name: str) -> bytes:
        out: list[bytes] = []
        room = self._limits.max_bytes
        for _ in range(self._limits.max_members):
            member = zlib.decompressobj(wbits=wbits)
            try:
                piece = member.decompress(raw, room + 1)
            except zlib.error as error:
                raise DecodeError(f"{name} dañado: {error}") from None
            if len(piece) > room:
                raise DecodeError(self._too_large())
            if not member.eof:
                raise DecodeError(f"{name} truncado: faltan datos al final")
            out.append(piece)
            room -= len(piece)
            raw = member.unused_data.lstrip(b"\x00")  # gzip allows zero padding after a member
            if not raw:
                return b"".join(out)
        raise DecodeError(f"{name} con más de {self._limits.max_members} partes")

    def _count_brackets(self, count: int) -> None:
        self._brackets += count
        # Before anything is parsed: 350,000 empty lists fit into 1 MiB, and take half a second.
        if count > self._limits.max_nodes:
            raise DecodeError(f"JSON con más de {self._limits.max_nodes} objetos y listas")

    def _check_depth(self, value: Any) -> None:
        level = [value]
        for _ in range(self._limits.max_depth):
            # Only lists and dicts come from the parser; in one expression, as there may be many.
            level = [
                child
                for node in level
                for child in (node if type(node) is list else node.values())
                if type(child) is dict or type(child) is list
            ]
            if not level:
                return
        raise DecodeError(f"JSON anidado a más de {self._limits.max_depth} niveles")

    def _too_large(self) -> str:
        self.decoded_bytes += self._limits.max_bytes  # what it took to find that out
        return f"más de {self._limits.max_bytes} bytes descomprimido"


def _is_wrapper(value: Mapping[str, Any]) -> bool:
    return len(value) == 1 and isinstance(
        value.get("data"), str | bytes | bytearray | memoryview | Mapping
    )


def _looks_like_zlib(raw: bytes) -> bool:
    # RFC 1950: deflate (8) in the low nibble, and the first two bytes are a multiple of 31.
    return len(raw) > 2 and raw[0] & 0x8F == 0x08 and (raw[0] << 8 | raw[1]) % 31 == 0


def _from_base64(text: str) -> bytes:
    compact = "".join(text.split()).translate(_URL_SAFE).rstrip("=")
    padded = compact + "=" * (-len(compact) % 4)
    try:
        return base64.b64decode(padded, validate=True)
    except (binascii.Error, ValueError):
        raise DecodeError('el texto de "data" no es base64 ni JSON') from None


def _to_text(raw: bytes) -> str:
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DecodeError(
            f"ni zstd, gzip, zlib ni texto UTF-8 (byte {error.start} de {len(raw)})"
        ) from None


def _unescape_once(text: str) -> str:
    r"""Undoes the backslashes that single quotes inside `$( … )` keep: `{\"a\": 1}`."""
    try:
        plain = json.loads(f'"{text}"', strict=False)
    except ValueError:
        return text
    return plain if isinstance(plain, str) else text


def _parse_int(digits: str) -> int | float:
    return int(digits) if len(digits) <= _MAX_DIGITS else float(digits)


def _kind(value: Any) -> str:
    names = {list: "una lista", str: "un texto", bool: "un booleano", type(None): "null"}
    return names.get(type(value), "un número" if isinstance(value, int | float) else "otra cosa")
