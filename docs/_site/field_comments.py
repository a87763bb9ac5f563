"""Let the API reference show what the comments behind fields say.

    seconds: float  # of wall clock, loading included
    ratio: float | None = Field(default=None, description="Source tokens per Z-token.")

In this code base a field's comment is its documentation; pydantic has a description for it. Neither is a docstring.
"""

import ast
import io
import tokenize

from griffe import Attribute, Docstring, Extension, Inspector, ObjectNode, Visitor


class FieldComments(Extension):
    """Makes docstrings of fields' comments and descriptions."""

    def on_attribute_instance(
        self, *, node: ast.AST | ObjectNode, attr: Attribute, agent: Visitor | Inspector, **kwargs: object
    ) -> None:
        """Give an attribute its docstring, if it has none.

        :param node: The attribute's syntax tree.
        :param attr: The attribute.
        :param agent: What reads the source.
        :param kwargs: Not used.
        """
        if attr.docstring or not isinstance(node, ast.AnnAssign | ast.Assign):
            return
        said = described(node) or comment("\n".join(attr.lines_collection[attr.filepath][node.lineno - 1 :][:8]))
        if said:
            attr.docstring = Docstring(sentence(said), parent=attr, lineno=node.lineno)


def described(node: ast.AnnAssign | ast.Assign) -> str | None:
    """Read the description of a pydantic field.

    :param node: The assignment.
    :return: The description, if there is one.
    """
    if isinstance(node.value, ast.Call):
        for keyword in node.value.keywords:
            if keyword.arg == "description" and isinstance(keyword.value, ast.Constant):
                return str(keyword.value.value)
    return None


def comment(source: str) -> str | None:
    """Read the comment at the end of the first line of code.

    :param source: Some lines.
    :return: The comment without its sign, if there is one.
    """
    try:
        for token in tokenize.generate_tokens(io.StringIO(source).readline):
            if token.type == tokenize.COMMENT:
                return token.string.lstrip("# ")
            if token.type == tokenize.NEWLINE:
                return None
    except (tokenize.TokenError, IndentationError):
        pass  # the lines end within something
    return None


def sentence(comment: str) -> str:
    """Begin with a capital and end with a full stop.

    :param comment: The comment.
    :return: The sentence.
    """
    text = comment[0].upper() + comment[1:]
    return text if text[-1] in ".!?…" else text + "."
