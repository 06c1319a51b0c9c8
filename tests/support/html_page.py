"""An HTML page as a test reads it: texts, tables, tags."""

from html.parser import HTMLParser

__all__ = ["Page"]


class Page(HTMLParser):
    """Text of each section, cells of its tables row by row, and every tag with its attributes."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.rows: dict[str, list[list[str]]] = {}
        self._texts: dict[str, list[str]] = {}
        self._section = "head"
        self._is_in_cell = False
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        self.tags.append((tag, attributes))
        if tag in {"style", "header", "section", "footer"}:
            self._section = attributes.get("id") or tag
        if tag == "tr":
            self.rows.setdefault(self._section, []).append([])
        if tag in {"td", "th"}:
            self.rows[self._section][-1].append("")
            self._is_in_cell = True

    def handle_endtag(self, tag: str) -> None:
        if tag in {"td", "th"}:
            self._is_in_cell = False
            self.handle_data(" ")

    def handle_data(self, data: str) -> None:
        self._texts.setdefault(self._section, []).append(data)
        if self._is_in_cell:
            row = self.rows[self._section][-1]
            row[-1] = f"{row[-1]} {data.strip()}".strip()

    def text(self, section: str) -> str:
        return " ".join("".join(self._texts[section]).split())

    def attributes(self, name: str) -> list[str]:
        return [a[name] or "" for _, a in self.tags if name in a]

    def count(self, tag: str) -> int:
        return sum(name == tag for name, _ in self.tags)
