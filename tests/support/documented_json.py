"""Compares JSON with the shapes that docs/report.md and docs/compare.md describe."""

#: What the document calls JSON's plain values.
PLAIN = {
    "whole number": (int,),
    "number": (int, float),
    "text": (str,),
    "time": (str,),
    "true or false": (bool,),
}


class Comparison:
    """Collects where values are not as described, and which shapes they have."""

    def __init__(self, shapes):
        """Takes the shapes by name; a shape has the kind of each field.

        A kind is a name of `PLAIN`, a shape in backticks, `list of KIND`, or `KIND by WORD` or `KIND by WORD and WORD`
        for an object with any keys, each with ` or null` after it if it may be null.
        """
        self.shapes = shapes
        self.strays = []
        self.seen = set()

    def compare(self, value, kind, path=""):
        """Compare parsed JSON, which stands at a path, with a kind."""
        bare = kind.removesuffix(" or null").rstrip(",")
        if value is None:
            self.strays += [f"{path} is null"] if bare == kind else []
        elif " by " in bare:
            inner, _, keys = bare.partition(" by ")
            _, _, deeper = keys.partition(" and ")
            for key, one in value.items():
                self.compare(one, f"{inner} by {deeper}" if deeper else inner, f"{path}.{key}")
        elif bare.startswith("list of "):
            for one in value:
                self.compare(one, bare.removeprefix("list of "), f"{path}[]")
        elif bare in PLAIN:
            self.strays += [] if type(value) in PLAIN[bare] else [f"{path} is {value!r}, and not: {kind}"]
        else:
            self._compare_fields(value, bare.strip("`"), path)

    def _compare_fields(self, value, shape, path):
        fields = self.shapes[shape]
        self.seen.add(shape)
        self.strays += [f"{path}.{name} is not documented" for name in value.keys() - fields.keys()]
        self.strays += [f"{path}.{name} does not exist" for name in fields.keys() - value.keys()]
        for name in value.keys() & fields.keys():
            self.compare(value[name], fields[name], f"{path}.{name}")
