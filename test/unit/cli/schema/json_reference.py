"""json_reference.py - our JSON mapping against protobuf's own (Debian's python3-protobuf).

    json_reference.py JSON_TOOL EVERY_SET

Messages of every.proto, with every kind of field: random ones, and JSON that is at the edge
of what is allowed.  Both must accept the same texts, and make the same bytes of them.
"""
import json
import math
import random
import subprocess
import sys
import unittest

from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory

TOOL, SET = sys.argv[1:3]
ROUNDS = 400


def load():
    files = descriptor_pb2.FileDescriptorSet()
    with open(SET, "rb") as file:
        files.ParseFromString(file.read())
    pool = descriptor_pool.DescriptorPool()
    for file in files.file:
        pool.Add(file)
    descriptor = pool.FindMessageTypeByName("test.v1.Every")
    return message_factory.MessageFactory(pool).GetPrototype(descriptor)


Every = load()


class Tool:
    def __init__(self):
        self.process = subprocess.Popen([TOOL, SET], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True)

    def _ask(self, line):
        assert "\n" not in line
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().rstrip("\n")

    def encode(self, text):
        """The bytes, or None when it is refused."""
        answer = self._ask(f"E test.v1.Every {text}")
        return None if answer.startswith("!") else bytes.fromhex(answer)

    def decode(self, data):
        answer = self._ask(f"D test.v1.Every {data.hex()}")
        assert not answer.startswith("!"), answer
        return answer

    def close(self):
        self.process.stdin.close()
        self.process.stdout.close()
        return self.process.wait(10)


def reference(text):
    try:
        return json_format.Parse(text, Every())
    except (json_format.ParseError, ValueError, TypeError, OverflowError):
        return None


# --- random messages ---

def random_value(field, dice):
    kinds = type(field)
    whole = {kinds.TYPE_INT32: (-2**31, 2**31 - 1), kinds.TYPE_SINT32: (-2**31, 2**31 - 1),
             kinds.TYPE_SFIXED32: (-2**31, 2**31 - 1), kinds.TYPE_UINT32: (0, 2**32 - 1),
             kinds.TYPE_FIXED32: (0, 2**32 - 1), kinds.TYPE_INT64: (-2**63, 2**63 - 1),
             kinds.TYPE_SINT64: (-2**63, 2**63 - 1), kinds.TYPE_SFIXED64: (-2**63, 2**63 - 1),
             kinds.TYPE_UINT64: (0, 2**64 - 1), kinds.TYPE_FIXED64: (0, 2**64 - 1)}
    if field.type in whole:
        least, most = whole[field.type]
        return dice.choice([0, 1, least, most, dice.randint(least, most)])
    if field.type == kinds.TYPE_BOOL:
        return dice.random() < 0.5
    if field.type in (kinds.TYPE_DOUBLE, kinds.TYPE_FLOAT):
        return dice.choice([0.0, 1.5, -0.25, 3.0, math.inf, -math.inf, 1e30])
    if field.type == kinds.TYPE_STRING:
        return "".join(dice.choice('aé"\\/\u0001\u2028😀 ') for _ in range(dice.randint(0, 5)))
    if field.type == kinds.TYPE_BYTES:
        return dice.randbytes(dice.randint(0, 5))
    if field.type == kinds.TYPE_ENUM:
        return dice.choice([0, 1, 2, -5, 77])
    raise AssertionError(field.type)


def fill(message, dice, depth=0):
    for field in message.DESCRIPTOR.fields:
        if dice.random() < 0.5 or depth > 3:
            continue
        if field.label == field.LABEL_REPEATED:
            for _ in range(dice.randint(0, 3)):
                if field.message_type:
                    fill(getattr(message, field.name).add(), dice, depth + 1)
                else:
                    getattr(message, field.name).append(random_value(field, dice))
        elif field.message_type:
            getattr(message, field.name).SetInParent()
            fill(getattr(message, field.name), dice, depth + 1)
        else:
            setattr(message, field.name, random_value(field, dice))
    return message


# --- texts at the edge: VALUES for each of FIELDS ---

FIELDS = ["anInt32", "an_int32", "anInt64", "aUint32", "aUint64", "aSint64", "aFixed32", "aDouble",
          "aFloat", "aBool", "aString", "aBytes", "aColour", "anInner", "numbers", "texts",
          "colours", "inners", "left", "right", "yes", "maybeNumber", "maybeText", "shade",
          "snakeCaseName", "snake_case_name", "snakecasename", "nonsense", "AnInt32"]
INTEGERS = ("anInt32", "an_int32", "anInt64", "aUint32", "aUint64", "aSint64", "aFixed32",
            "maybeNumber", "aColour", "shade", "right")
VALUES = ["0", "1", "-1", "1.0", "1.5", "1e2", "1E+2", "-0", "-0.0", "18446744073709549568", "2147483647", "2147483648",
          "-2147483648", "-2147483649", "4294967295", "4294967296", "9223372036854775807",
          '"9223372036854775807"', '"9223372036854775808"', '"-9223372036854775808"',
          '"-9223372036854775809"', '"18446744073709551615"', '"18446744073709551616"', '"1"',
          '"-1"', '""', '"x"', '"NaN"', '"Infinity"', '"-Infinity"', "1e400", "3.5e38", "1e-400",
          "null", "true", "false", "[]", "{}", "[1]", "[null]", '["RED"]', '[["RED"]]', "[{}]",
          '"RED"', '"BLUE"', '"red"', '"DARK"', "-5", "77", '"AA=="', '"AAA="', '"AAAA"',
          '"_-8="', '"+/8="', '"A"', '"AB"', '"A=="', '"A A="', '"=="', '{"name":"n"}',
          '{"name":1}', '{"name":"n","name":"m"}', '{"more":[{"depth":1}]}', '{"more":null}',
          '"\\u0000"', '"\\ud83d\\ude00"', '"\\ud800"', '"é"']

# Where ours refuses what the Python reference lets pass; none is in the mapping's definition.
STRICTER = {
    "a text with a zero character: protobuf-c's strings end there":
        lambda field, value: value == '"\\u0000"',
    "an empty list or text as a message":
        lambda field, value: field == "anInner" and value in ("[]", '""'),
    "true and false as numbers": lambda field, value:
        field in ("aDouble", "aFloat") and value in ("true", "false"),
    "enum numbers that are no int32, and truth as one": lambda field, value:
        field in ("aColour", "shade") and value in ("true", "false", "1.5", "4294967296", '"-9223372036854775808"',
                                         '"-9223372036854775809"'),
    "base64 with characters or padding that are none of it": lambda field, value:
        field == "aBytes" and value in ('"=="', '"A A="', '"\\ud83d\\ude00"', '"é"'),
    "what no integer holds exactly: negative zero, and what a double rounds to zero":
        lambda field, value: field in INTEGERS and value in ("-0.0", "1e-400"),
    "what would become 0 in a double: negative zero, which protobuf-c does not pack, and less":
        lambda field, value: field in ("aDouble", "aFloat") and value in ("-0", "-0.0", "1e-400"),
}


def is_stricter(field, value):
    return any(fits(field, value) for fits in STRICTER.values())


class AgainstTheReference(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.tool = Tool()

    @classmethod
    def tearDownClass(cls):
        assert cls.tool.close() == 0

    def test_random_messages_have_the_same_json_and_bytes(self):
        dice = random.Random(20261125)
        for number in range(ROUNDS):
            message = fill(Every(), dice)
            ours = self.tool.decode(message.SerializeToString())
            with self.subTest(number):
                self.assertEqual(json.loads(ours), json.loads(json_format.MessageToJson(message)))
                self.assertEqual(json_format.Parse(ours, Every()), message)
                for original in (False, True):
                    text = json_format.MessageToJson(
                        message, preserving_proto_field_name=original, indent=None)
                    data = self.tool.encode(text)
                    self.assertIsNotNone(data, text)
                    self.assertEqual(Every.FromString(data), message)

    def test_both_accept_the_same_texts_and_mean_the_same(self):
        both = 0
        for field in FIELDS:
            for value in VALUES:
                text = f'{{"{field}":{value}}}'
                theirs, ours = reference(text), self.tool.encode(text)
                with self.subTest(text):
                    if is_stricter(field, value):
                        self.assertIsNone(ours)
                        continue
                    if theirs is None:
                        self.assertIsNone(ours, "accepted by us alone")
                    else:
                        self.assertIsNotNone(ours, "refused by us alone")
                        self.assertEqual(Every.FromString(ours).SerializeToString(),
                                         theirs.SerializeToString())
                        both += 1
        self.assertGreater(both, 200)

    def test_what_both_refuse(self):
        for text in ('{"left":"a","right":"1"}', '{"anInt32":1,"anInt32":2}', '{"anInt32":1', "1",
                     '{"left":"a"}x', '"x"', "", "{'a':1}"):
            with self.subTest(text):
                self.assertIsNone(reference(text))
                self.assertIsNone(self.tool.encode(text))

    def test_what_ours_alone_refuses(self):
        for text in ("[]", '{"anInt32":1,"an_int32":2}'):
            with self.subTest(text):
                self.assertIsNotNone(reference(text))
                self.assertIsNone(self.tool.encode(text))


unittest.main(argv=sys.argv[:1], verbosity=1)
