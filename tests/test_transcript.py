"""What the documentation shows was printed by the commands that it names."""

import os
from pathlib import Path
from xml.etree import ElementTree

import pytest
import transcript
from bake import TEMPLATE

PAGE = """\
# Page

```console
$ echo "$PWD/file" > file; cat file
what it printed before
$ printf '\\033[1mbold\\033[0m  \\n'
```

Text.

<!-- picture: shown.svg -->
```console
$ cat file
```

```python
$ echo untouched
```
"""


@pytest.mark.skipif(os.name != "posix", reason="it needs bash")
def test_a_page_shows_what_its_commands_print(tmp_path: Path):
    project, page = tmp_path / "project", tmp_path / "page.md"
    (project / "runs").mkdir(parents=True)
    page.write_text(PAGE, encoding="utf-8")

    for _ in range(2):  # the second time changes nothing
        transcript.main(project, page)

        text = page.read_text(encoding="utf-8")
        assert '$ echo "$PWD/file" > file; cat file\nfile\n$ printf' in text
        assert "0m  \\n'\nbold\n```\n" in text
        assert "what it printed before" not in text
        assert "$ cat file\nfile\n```\n" in text
        assert "```python\n$ echo untouched\n```\n" in text
    assert [path.name for path in project.iterdir()] == ["runs"]
    assert "file" in (tmp_path / "shown.svg").read_text(encoding="utf-8")


def test_the_life_of_a_checkpoint_is_whole():
    text = (TEMPLATE / "docs" / "life-of-a-checkpoint.md").read_text(encoding="utf-8")

    blocks = [match[2].splitlines() for match in transcript.BLOCK.finditer(text)]
    assert len(blocks) == text.count("```console") == 10
    for lines in blocks:
        following = zip(lines, [*lines[1:], "$ "], strict=True)
        silent = [line for line, after in following if line[:2] == after[:2] == "$ "]
        assert all("truncate" in line for line in silent)
    assert "Traceback" not in text
    for said in ("is pinned now", "is damaged", "Restored step 176", "does not fit", "Forked step"):
        assert said in text


def test_the_picture_is_one():
    picture = TEMPLATE / "docs" / "terminal.svg"

    root = ElementTree.fromstring(picture.read_bytes())  # noqa: S314  (it is our own)
    assert root.tag.endswith("svg")
    shown = "".join(root.itertext()).replace("\xa0", " ")
    assert "does not fit this model. Nothing was restored." in shown
