"""The user guide in a window of its own: contents, search, and the text in the program's look."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import Qt, QUrl, Slot
from PySide6.QtGui import (
    QDesktopServices,
    QKeySequence,
    QShortcut,
    QTextBlock,
    QTextBlockFormat,
    QTextCharFormat,
    QTextCursor,
    QTextDocument,
    QTextFormat,
    QTextFrameFormat,
    QTextLength,
    QTextTable,
)
from PySide6.QtWidgets import QLineEdit, QListWidget, QListWidgetItem, QTextBrowser, QTextEdit, QWidget

from aegui.gui import theme
from aegui.gui.guide_text import chapters
from aegui.gui.widgets.basic import column, frame, label, row

SIZE = (980, 720)
_LINES = ((20, 600, 0), (15, 600, 20), (13, 600, 12))  # of headings: px, weight, space above
_BLOCK = int(Qt.ItemDataRole.UserRole)
_FILE = _BLOCK + 1


class GuideWindow(QWidget):
    """All chapters in one text. The contents keep only the headings whose section has what is looked for."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent, Qt.WindowType.Window)
        self.setObjectName("window")
        self.setAttribute(Qt.WidgetAttribute.WA_StyledBackground)
        self.setWindowTitle("User guide")
        self.resize(*SIZE)
        self.search = QLineEdit()
        self.search.setPlaceholderText("Search the guide")
        self.search.setAccessibleName("Search the guide")
        self.search.setClearButtonEnabled(True)
        self.contents = QListWidget()
        self.contents.setAccessibleName("Contents")
        self.contents.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.nothing = label("Nothing found", "ter")
        self.nothing.hide()
        self.text = QTextBrowser()
        self.text.setAccessibleName("User guide")
        self.text.setOpenLinks(False)
        self.text.setProperty("guide", "1")
        left = frame(
            column(self.search, self.nothing, (self.contents, 1), margins=(16, 16, 16, 16), gap=12), panel="left"
        )
        left.setFixedWidth(280)
        self.setLayout(row(left, (self.text, 1), gap=0))
        self.contents.currentItemChanged.connect(self._go)
        self.contents.itemClicked.connect(self._go)
        self.search.textChanged.connect(self._look_for)
        self.search.returnPressed.connect(self._next)
        self.text.anchorClicked.connect(self._follow)
        QShortcut(QKeySequence.StandardKey.Find, self).activated.connect(self.search.setFocus)
        QShortcut(QKeySequence(Qt.Key.Key_Escape), self).activated.connect(self.close)
        theme.changed().connect(self.fill)
        self.fill()

    # ---- the text
    @Slot()
    def fill(self) -> None:
        """Set the text in the present theme."""
        document = QTextDocument(self)
        document.setDocumentMargin(32)
        document.setDefaultFont(theme.font(13))
        files, texts = zip(*chapters(), strict=True)
        document.setMarkdown("\n\n".join(texts), QTextDocument.MarkdownFeature.MarkdownDialectGitHub)
        _dress(document)
        self.text.setDocument(document)
        self.contents.clear()
        block, chapter = document.begin(), iter(files)
        while block.isValid():
            level = block.blockFormat().headingLevel()
            if level in (1, 2):
                item = QListWidgetItem(("" if level == 1 else "    ") + block.text())
                item.setFont(theme.font(13, 600 if level == 1 else 400))
                item.setData(_BLOCK, block.blockNumber())
                item.setData(_FILE, next(chapter) if level == 1 else "")
                self.contents.addItem(item)
            block = block.next()
        self._look_for(self.search.text())

    def show_chapter(self, name: str) -> None:
        """Scroll to a chapter by its file's name."""
        for item in self._items():
            if item.data(_FILE) == name:
                self.contents.setCurrentItem(item)

    def _items(self) -> list[QListWidgetItem]:
        return [self.contents.item(number) for number in range(self.contents.count())]

    @Slot()
    def _go(self) -> None:
        if self.contents.currentRow() < 0:
            return
        block = self.text.document().findBlockByNumber(self.contents.currentItem().data(_BLOCK))
        layout, bar = self.text.document().documentLayout(), self.text.verticalScrollBar()
        # The text is laid out bit by bit, and until that is done the bar ends too early.
        bar.setMaximum(max(bar.maximum(), round(layout.documentSize().height()) - self.text.viewport().height()))
        bar.setValue(max(0, round(layout.blockBoundingRect(block).top()) - 12))

    @Slot(QUrl)
    def _follow(self, link: QUrl) -> None:
        if link.scheme() in ("http", "https"):
            QDesktopServices.openUrl(link)
        else:
            self.show_chapter(Path(link.path()).name)

    # ---- searching
    @Slot(str)
    def _look_for(self, wanted: str) -> None:
        wanted = wanted.strip().lower()
        items = self._items()
        ends = [item.data(_BLOCK) for item in items[1:]] + [self.text.document().blockCount()]
        for item, end in zip(items, ends, strict=True):
            item.setHidden(bool(wanted) and wanted not in self._section(item.data(_BLOCK), end))
        self.nothing.setVisible(bool(items) and all(item.isHidden() for item in items))
        self._mark(wanted)

    def _section(self, begin: int, end: int) -> str:
        document = self.text.document()
        return "\n".join(document.findBlockByNumber(number).text() for number in range(begin, end)).lower()

    def _mark(self, wanted: str) -> None:
        """Tint every place; stand on the first one."""
        marks: list[QTextEdit.ExtraSelection] = []
        cursor = QTextCursor(self.text.document())
        while wanted and not (cursor := self.text.document().find(wanted, cursor)).isNull():
            mark = QTextEdit.ExtraSelection()
            mark.cursor = cursor
            mark.format.setBackground(theme.colour("selected"))
            marks.append(mark)
        self.text.setExtraSelections(marks)
        if wanted:
            self.text.moveCursor(QTextCursor.MoveOperation.Start)
            self._next()

    @Slot()
    def _next(self) -> None:
        """The next place, from the start again after the last."""
        wanted = self.search.text().strip()
        if wanted and not self.text.find(wanted):
            self.text.moveCursor(QTextCursor.MoveOperation.Start)
            self.text.find(wanted)


def _dress(document: QTextDocument) -> None:
    """Type scale and colours of the program, for headings, paragraphs, links and tables."""
    block = document.begin()
    while block.isValid():
        level = block.blockFormat().headingLevel()
        in_table = QTextCursor(block).currentTable() is not None
        shape = QTextBlockFormat()
        shape.setLineHeight(100 if in_table else 140, QTextBlockFormat.LineHeightTypes.ProportionalHeight.value)
        if level:
            above = _LINES[min(level, 3) - 1][2]
            shape.setTopMargin(48 if level == 1 and block.blockNumber() else above)
            shape.setBottomMargin(6)
        elif not in_table:
            shape.setTopMargin(0)
            together = (block.textList() and block.next().textList()) or (_is_code(block) and _is_code(block.next()))
            shape.setBottomMargin(4 if together else 12)
            shape.setLeftMargin(16 if _is_code(block) else 0)
        QTextCursor(block).mergeBlockFormat(shape)
        _dress_words(block, level)
        block = block.next()
    for table in document.rootFrame().childFrames():
        if isinstance(table, QTextTable):
            _dress_table(table)


def _is_code(block: QTextBlock) -> bool:
    return block.blockFormat().hasProperty(QTextFormat.Property.BlockCodeLanguage.value)


def _dress_words(block: QTextBlock, level: int) -> None:
    places = []
    parts = block.begin()
    while not parts.atEnd():
        part = parts.fragment()
        places.append((part.position(), part.position() + part.length(), part.charFormat()))
        parts += 1
    for begin, end, was in places:
        letters = QTextCharFormat()
        size, weight = _LINES[min(level, 3) - 1][:2] if level else (13, 600 if was.fontWeight() > 500 else 400)
        code = "monospace" in (was.fontFamilies() or ())
        font = theme.mono_font(size - 1) if code else theme.font(size, weight)
        font.setItalic(was.fontItalic())
        letters.setFont(font)
        letters.setForeground(theme.colour("text" if weight > 400 else "text2"))
        if was.isAnchor():
            letters.setAnchor(True)
            letters.setAnchorHref(was.anchorHref())
            letters.setForeground(theme.colour("accentText"))
        cursor = QTextCursor(block)
        cursor.setPosition(begin)
        cursor.setPosition(end, QTextCursor.MoveMode.KeepAnchor)
        cursor.setCharFormat(letters)


def _dress_table(table: QTextTable) -> None:
    shape = table.format()
    shape.setBorder(1)
    shape.setBorderStyle(QTextFrameFormat.BorderStyle.BorderStyle_Solid)
    shape.setBorderBrush(theme.colour("line"))
    shape.setBorderCollapse(True)
    shape.setCellPadding(7)
    shape.setCellSpacing(0)
    shape.setTopMargin(8)
    shape.setBottomMargin(16)
    shape.setWidth(QTextLength(QTextLength.Type.PercentageLength, 100))
    widths = {3: (30, 52, 18)}.get(table.columns(), tuple([100 // table.columns()] * table.columns()))
    shape.setColumnWidthConstraints([QTextLength(QTextLength.Type.PercentageLength, part) for part in widths])
    table.setFormat(shape)
    for place in range(table.columns()):
        cell = table.cellAt(0, place)
        cursor = cell.firstCursorPosition()
        cursor.setPosition(cell.lastCursorPosition().position(), QTextCursor.MoveMode.KeepAnchor)
        head = QTextCharFormat()
        head.setFont(theme.font(12, 600))
        head.setForeground(theme.colour("text"))
        cursor.mergeCharFormat(head)
