"""The frame of the HTML pages that commands write: one file, no script, nothing from elsewhere.

What texts of strangers put into it is escaped by those who write the body; the policy is the second lock.
"""

_POLICY = "default-src 'none'; style-src 'unsafe-inline'"


def html_page(title: str, style: str, body: str) -> str:
    """Put a page together.

    :param title: Its title, escaped.
    :param style: Its style sheet.
    :param body: What it shows, as HTML.
    :return: An HTML document.
    """
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{_POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
{body}
</body>
</html>
"""
