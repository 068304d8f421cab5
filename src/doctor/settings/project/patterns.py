"""URL patterns as the gateway's routes can say them: segments, of which `*` is any one.

A route must take no request that its view would not get, so each pattern is told with what is lost on the way: `rest` if
it goes on over any number of segments from here, `total` if each `*` really takes every segment, `stray` if it only goes on
because nobody wrote where it begins or ends. A pattern that leaves out a final slash, or knows several words, becomes
several shapes.
"""

from urllib.parse import quote

try:
    from re import _parser as regex_parser
except ImportError:
    import sre_parse as regex_parser

MOST_SHAPES = 24
# In place of whether it takes every segment.
DIGITS = "digits"
REST = ("rest", False)
# It goes on although nobody seems to have meant it.
STRAY = ("rest", True)


def alternatives_of(parsed, ignores_case=False):
    """What a parsed regular expression stands for: lists of pieces, each a text, a run of characters, or the rest."""
    found = [[]]
    for operator, value in parsed:
        name = str(operator)
        if name in ("AT", "ASSERT", "ASSERT_NOT"):
            continue
        if name == "LITERAL":
            letter = chr(value)
            more = [[("any", False) if ignores_case and letter.isalpha() else ("text", letter)]]
        elif name == "IN" and len(value) <= 4 and all(str(kind) == "LITERAL" for kind, _ in value):
            # `v1|v2` comes as one letter of several.
            more = [[("text", chr(said))] for _, said in value]
        elif name in ("NOT_LITERAL", "ANY", "IN"):
            more = [[REST if takes_slash(name, value) else ("any", DIGITS if is_digit(name, value) else False)]]
        elif name.endswith("_REPEAT"):
            more = repeated(*value, ignores_case)
        elif name in ("SUBPATTERN", "ATOMIC_GROUP"):
            more = alternatives_of(value[3] if name == "SUBPATTERN" else value, ignores_case)
        elif name == "BRANCH":
            more = [one for branch in value[1] for one in alternatives_of(branch, ignores_case)]
        else:
            more = [[REST]]
        found = [one + other for one in found for other in more]
        if len(found) > MOST_SHAPES:
            return [[REST]]
    return found


def repeated(least, most, parsed, ignores_case):
    inner = alternatives_of(parsed, ignores_case)
    nothing = [[]] if least == 0 else []
    if most == 1:
        return nothing + inner
    if any(kind == "rest" or (kind == "text" and "/" in said) for one in inner for kind, said in one):
        return nothing + [[REST]]
    whole = list(parsed)
    if len(whole) == 1 and is_digit(str(whole[0][0]), whole[0][1]):
        return nothing + [[("any", DIGITS)]]
    total = least <= 1 and str(most) == "MAXREPEAT" and len(whole) == 1 and is_all_but_slash(*whole[0])
    return nothing + [[("any", total)]]


def is_digit(name, value):
    """One digit, and nothing else."""
    members = [(str(kind), said) for kind, said in value] if name == "IN" else []
    return bool(members) and all(
        (kind == "CATEGORY" and str(said) == "CATEGORY_DIGIT")
        or (kind == "RANGE" and said == (ord("0"), ord("9")))
        for kind, said in members
    )


def is_all_but_slash(operator, value):
    if str(operator) == "NOT_LITERAL":
        return value == ord("/")
    members = [(str(name), said) for name, said in value] if str(operator) == "IN" else []
    return members == [("NEGATE", None), ("LITERAL", ord("/"))]


def takes_slash(name, value):
    if name == "ANY":
        return True
    if name == "NOT_LITERAL":
        return value != ord("/")
    negated = takes = False
    for operator, said in value:
        kind = str(operator)
        if kind == "NEGATE":
            negated = True
        elif kind == "LITERAL":
            takes = takes or said == ord("/")
        elif kind == "RANGE":
            takes = takes or said[0] <= ord("/") <= said[1]
        else:
            takes = takes or str(said) in ("CATEGORY_NOT_DIGIT", "CATEGORY_NOT_SPACE", "CATEGORY_NOT_WORD")
    return takes != negated


def pieces_of(pattern, is_last):
    """The alternatives of one pattern of a chain, and whether a path may go on after it although it is the last."""
    from django.urls.resolvers import LocalePrefixPattern

    if isinstance(pattern, LocalePrefixPattern):
        return [[("text", str(pattern.language_prefix))]], False
    parsed = regex_parser.parse(pattern.regex.pattern, pattern.regex.flags)
    operators = [(str(operator), str(value)) for operator, value in parsed]
    found = alternatives_of(parsed, bool(parsed.state.flags & regex_parser.SRE_FLAG_IGNORECASE))
    if operators and operators[0][0] != "AT":
        # It is searched for anywhere. Who means its beginning and forgot to say so is found there.
        found = found + [[STRAY] + one for one in found]
    ends = bool(operators) and operators[-1] in (("AT", "AT_END"), ("AT", "AT_END_STRING"))
    return found, is_last and not ends


def shapes_of(chain):
    """Each shape of a chain of patterns, from the first resolver to the view's own."""
    found, goes_on = [[]], False
    for at, pattern in enumerate(chain):
        more, goes_on = pieces_of(pattern, at + 1 == len(chain))
        found = [one + other for one in found for other in more]
        if len(found) > MOST_SHAPES:
            found = [common_beginning(found) + [REST]]
    shapes = []
    for pieces in found:
        shape = shape_of(pieces)
        shapes.append(shape)
        if goes_on and not shape["rest"]:
            # The view gets what is below as well, but who forgot the end does not mean it.
            shapes.append(shape_of(pieces + [STRAY]))
    for shape in [one for one in shapes if one["rest"] and one["path"].endswith("*/")]:
        # No route has a variable last and goes on. One more segment is what a file's name is.
        shapes.append(shape | {"path": shape["path"] + "*", "rest": False, "total": False})
        shape["stray"] = True
    if "?P<format>" in chain[-1].regex.pattern:
        # REST framework's `users.json` beside `users`: for what is closed, and for nothing else.
        shapes = [shape | {"stray": True} for shape in shapes]
    return [shape for at, shape in enumerate(shapes) if shape not in shapes[:at]]


def common_beginning(alternatives):
    shortest = min(alternatives, key=len)
    at = next((at for at, piece in enumerate(shortest) if any(one[at] != piece for one in alternatives)), len(shortest))
    return shortest[:at]


def shape_of(pieces):
    segments, total, rest, stray = [""], True, False, False
    kinds = [[]]
    for kind, said in pieces:
        if kind == "rest":
            rest, stray = True, said
            break
        if kind == "any":
            kinds[-1].append(said)
            continue
        for letter in said:
            if letter == "/":
                segments.append("")
                kinds.append([])
            elif letter == "*":
                kinds[-1].append(False)
            else:
                segments[-1] += letter
    if rest:
        # What a segment begins with cannot be said, so that the rest begins before it.
        segments[-1], kinds[-1] = "", []
    told, numbers = [], []
    for at, (said, any_of) in enumerate(zip(segments, kinds)):
        if not said and not any_of and at + 1 < len(segments):
            # An empty segment: no path of a route's has one.
            path = "/" + "".join(f"{one}/" for one in told)
            return {"path": path, "rest": True, "total": False, "stray": False, "digits": numbers}
        total = total and (not any_of or (not said and any_of == [True]))
        if any_of and all(one == DIGITS for one in any_of) and (not said or said.isdecimal()):
            numbers.append(at)
        told.append("*" if any_of else quote(said, safe="~!$&'()+,;=:@-._"))
    return {"path": "/" + "/".join(told), "rest": rest, "total": total and not rest, "stray": stray, "digits": numbers}
