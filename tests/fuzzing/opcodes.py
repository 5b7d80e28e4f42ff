"""Pickles written opcode by opcode: some that call something, and some that are none."""

import struct

DEEP = 20_000


def _strings(*texts):
    return b"".join(b"\x8c" + bytes([len(text)]) + text.encode() for text in texts)


def handwritten(call):
    """Hostile pickles.

    Args:
        call: a system command that they may run.
    """
    argument = b"X" + struct.pack("<I", len(call)) + call.encode() + b"\x85R."
    return (
        b"\x80\x02cos\nsystem\n" + argument,
        b"\x80\x02cposix\nsystem\n" + argument,
        b"\x80\x04" + _strings("os", "system") + b"\x93" + argument,
        b"\x80\x04" + _strings("torch", "os.system") + b"\x93" + argument,
        b"\x80\x02ctorch\nos.system\n" + argument,
        b"\x80\x02ctorch.serialization\nos.system\n" + argument,
        # From protocol 4 on, a name with dots leads through modules.
        b"\x80\x04ctorch.serialization\nos.system\n" + argument,
        b"\x80\x04ctorch\nserialization.os.system\n" + argument,
        b"\x80\x04ccollections\n_sys.modules\n.",
        b"\x80\x02cnumpy\nos.system\n" + argument,
        b"\x80\x02cnumpy.f2py.crackfortran\nos.system\n" + argument,
        b"\x80\x02ccollections\n_sys.exit\n)R.",
        b"\x80\x02ctorch.hub\nload\n" + argument,
        b"\x80\x02ctorch\nload\n" + argument,
        b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n)R.",
        b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n(NK\x00))N\x89NtR.",
        b"\x80\x02ctorch._utils\n_rebuild_parameter\n(NN\x89tR.",
        b"\x80\x02ccollections\nOrderedDict\n)R}b.",
        f"(S{call!r}\nios\nsystem\n.".encode(),
        b"\x80\x02(cos\nsystem\n" + argument[:-3] + b"o.",
        b"\x80\x02\x82\x01.",
        b"\x80\x02Pstorage\n.",
        b"\x80\x02K\x01Q.",
        b"\x80\x02(U\x07storageK\x01tQ.",
        b"\x80\x02]q\x00h\x00a.",
        b"\x80\x02}q\x00X\x01\x00\x00\x00ah\x00s.",
        b"\x80\x02" + b"(" * DEEP + b"t" * DEEP + b".",
        b"\x80\x02" + b"]" * DEEP + b"a" * (DEEP - 1) + b".",
        b"\x80\x02}" + b"X\x01\x00\x00\x00a}" * DEEP + b"s" * DEEP + b".",
        b"\x80\x04\x8e" + struct.pack("<Q", 2**40) + b"x.",
        b"\x80\x04\x95" + struct.pack("<Q", 2**62) + b"N.",
        b"\x80\x02T" + struct.pack("<i", 2**30) + b"x.",
        b"\x80\x02\x8b" + struct.pack("<i", 2**31 - 1) + b"x.",
        b"\x80\x02I" + b"9" * 9000 + b"\n.",
        b"\x80\x02r\xff\xff\xff\x7f.",
        b"\x80\x02Nr\xff\xff\xff\x7f.",
        b"\x80\x02h\x07.",
        b"\x80\x02V\\ud800\n.",
        b"\x80\x02Fnan\n.",
        b"\x80\x09N.",
        b"\x80\x05\x97.",
        b".", b"\x80\x02", b"", b"\x80\x02N", b"\x80\x02NN0", b"\x80\x02a.",
    )  # fmt: skip
