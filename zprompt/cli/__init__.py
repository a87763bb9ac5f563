"""The command line.

Reading order: `main` (the program); one file per command (`compress`, `decompress`, `answer` and so on); and
what they share: `options`, `files` (which to read, where to write), `contents` (plain text or JSON lines), `conversion`
(files in, files out), `codec_loading`, `messages` (stderr), `tiling` with its views `terminal_view` and `html_view`.

Importing it is light: a command imports torch only when it needs a codec.
"""
