"""What editors for lists of Specs share: items, adding, removing, moving."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

from pydantic import ValidationError
from PySide6.QtWidgets import QWidget

from aegui.gui.widgets.basic import button
from aegui.gui.widgets.fields import Fields
from aegui.gui.widgets.knobs import Knob, tag_of
from aegui.gui.widgets.rows import Composite, Message, Place, Where, into_view
from aegui.spec import Spec


class ListEditor(Composite):
    """Base: `items` holds the fields of each item, in their order."""

    def __init__(self, knob: Knob, parent: QWidget | None = None) -> None:
        super().__init__(knob, parent)
        self.items: list[Fields] = []
        self.message = Message("", self)
        self._name = knob.title
        self.word = knob.title.split()[-1].lower().removesuffix("s")
        self.add_button = button(f"Add {self.word}", "link", "plus")

    def inputs(self) -> list[QWidget]:
        return [self.add_button]

    def name_inputs(self, name: str) -> None:
        self._name = name

    def set_tone(self, tone: Any) -> None:
        """The list itself has no border; its message line speaks."""

    def inner_rows(self) -> Iterator[Place]:
        for fields in self.items:
            yield from fields.all_rows()

    def locate(self, where: Where) -> tuple[Place, Where] | None:
        if where and isinstance(where[0], int) and where[0] < len(self.items):
            fields, rest = self.items[where[0]], where[1:]
            tag = self._item_raw(fields).get(self.knob.tag)
            rest = rest[1:] if rest and tag is not None and rest[0] == tag else rest
            return fields.locate(rest) if rest else (self._whole(fields), ())
        return None

    def _whole(self, fields: Fields) -> Place:
        """Where to tell what concerns an item as a whole."""
        return next(iter(fields.rows.values()))

    def raw(self) -> Any:
        return [self._item_raw(fields) for fields in self.items]

    def set_raw(self, value: Any) -> None:
        classes = [self._class(item) for item in value]
        if [fields.spec for fields in self.items] != classes:
            self._rebuild(classes)
        for fields, item in zip(self.items, value, strict=True):
            fields.set_raw(item)
        self._refresh()

    def mark(self, preset: Any) -> None:
        for fields in self.items:
            self._mark_item(fields, self._item_raw(fields) not in preset)

    def append(self, spec: Any) -> None:
        """Add an item with its defaults, if it has a place in the list."""
        fresh = spec.another(self.present())
        if fresh is not None:
            self._take([*self.raw(), fresh.model_dump(mode="json")])
            row = next(iter(self.items[-1].rows.values()), None)
            if row is not None and row.editor.inputs() and row.editor.isVisible():
                row.editor.inputs()[0].setFocus()
                into_view(row.editor)

    def remove(self, fields: Fields) -> None:
        """Take an item out."""
        values = self.raw()
        del values[self.items.index(fields)]
        self._take(values)

    def shift(self, fields: Fields, by: int) -> None:
        """Put an item before or behind its neighbour."""
        values, index = self.raw(), self.items.index(fields)
        values.insert(index + by, values.pop(index))
        self._take(values)

    def _take(self, values: list[Any]) -> None:
        """Show other items: one change of its own."""
        self.set_raw(values)
        self.changed.emit()
        self.ended.emit()

    def present(self) -> list[Spec]:
        """The items that are right as they stand."""
        found: list[Spec] = []
        for fields in self.items:
            with suppress(ValidationError):
                found.append(fields.spec.model_validate(self._item_raw(fields)))
        return found

    @property
    def enough(self) -> bool:
        """Whether one may be removed."""
        return len(self.items) > self.knob.minimum

    @property
    def least(self) -> str:
        """Why none may be removed."""
        return f"At least {self.knob.minimum} {self.word} is needed"

    def _item_raw(self, fields: Fields) -> dict[str, Any]:
        tag = {self.knob.tag: tag_of(fields.spec, self.knob.tag)} if self.knob.tag else {}
        return {**tag, **fields.raw()}

    def _class(self, item: Mapping[str, Any]) -> Any:
        for choice in self.knob.choices:
            if not self.knob.tag or tag_of(choice, self.knob.tag) == item[self.knob.tag]:
                return choice
        raise KeyError(item)

    def _listen(self, fields: Fields) -> None:
        fields.changed.connect(self._on_changed)
        fields.ended.connect(self.ended)

    def _on_changed(self) -> None:
        self._refresh()
        self.changed.emit()

    def _rebuild(self, classes: list[Any]) -> None:
        raise NotImplementedError

    def _refresh(self) -> None:
        raise NotImplementedError

    def _mark_item(self, fields: Fields, changed: bool) -> None:
        raise NotImplementedError
