"""Review: what the model does to series it never saw, slice by slice, in pictures and figures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PySide6.QtCore import QEvent, QObject, Slot
from PySide6.QtGui import QHideEvent, QResizeEvent, QShowEvent
from PySide6.QtWidgets import QStackedLayout, QWidget

from aegui import imaging
from aegui.analysis import ALERT
from aegui.analysis.pictures import residual_limit
from aegui.analysis.report import Report
from aegui.errors import UserError
from aegui.gui import reports, review_keys, reviewable
from aegui.gui.pages.base import Page, RailState
from aegui.gui.review_slices import ReviewSlices, mix
from aegui.gui.session import Session
from aegui.gui.widgets.basic import Note, button, column, holder
from aegui.gui.widgets.measurements import Measurements
from aegui.gui.widgets.model_chooser import ModelChooser, short_title
from aegui.gui.widgets.region_figures import RegionFigures
from aegui.gui.widgets.review_bar import ReviewBar
from aegui.gui.widgets.review_views import ReviewViews
from aegui.gui.widgets.series_chooser import SeriesChooser
from aegui.gui.widgets.states import EmptyState
from aegui.gui.widgets.structure_strip import StripPanel
from aegui.imaging.series import Series


class ReviewPage(Page):
    """Pictures above, the structure strip under them, measurements at the foot."""

    key = "review"
    title = "Review"
    icon = "columns-2"
    help = (
        "Compare before and after on series that training never saw. The residual is what was taken away: "
        "it should look like noise. Uncertainty (U) shows where mirrored and turned views of the slice come out "
        "differently: look twice there. Slices whose residual shows structure are flagged; N and P go through them. "
        "Draw regions with G to read noise, contrast and bias. Strength mixes the input back in. "
        "Accept goes to Deliver with this strength."
    )

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(session, parent)
        self.slices = ReviewSlices(self)
        self.measurements = Measurements()
        self.figures = RegionFigures(session, self.measurements)
        self.regions = self.figures.regions
        self.bar = ReviewBar()
        self.views = ReviewViews(self.regions)
        self.foot = StripPanel()
        self.strip = self.foot.strip
        self.problem = Note("err", "")
        self.chooser = SeriesChooser()
        self.model = ModelChooser(session)
        self.model.setFixedWidth(190)
        self.report = button("Report…", "ghost", "file-text", clicked=self._ask_report)
        self.reject = button("Reject", icon="x", clicked=self._reject)
        self.accept = button("Accept and continue", "primary", "check", clicked=self._accept)
        self.head_actions = [self.chooser, self.model, self.report, self.reject, self.accept]
        self.primary_action = self.accept
        self._limit: float | None = None
        self._doubt_limit: float | None = None
        self._windowed = False  # whether the grey levels were set from the first slice
        self._shown_model: tuple[str, str] = ("", "")
        self._guest = ""
        self._out: np.ndarray | None = None  # the current slice at the current strength
        self._build()
        self._connect()
        review_keys.bind(self)
        self._on_series()
        self._say_state()

    def _build(self) -> None:
        self._note = holder(column(self.problem, margins=(16, 8, 16, 8)))
        self._note.hide()
        body = holder(column(self.bar, self._note, (self.views, 1), self.foot, self.measurements, gap=0))
        go = button("Open scans", "primary", "folder-open", clicked=lambda: self.session.request_page("scans"))
        empty = EmptyState("columns-2", "Nothing to review yet", "Open a folder of scans first.", [go])
        self._stack = QStackedLayout(self)
        self._stack.setContentsMargins(0, 0, 0, 0)
        self._stack.addWidget(empty)
        self._stack.addWidget(body)

    def _connect(self) -> None:
        session, bar, linked = self.session, self.bar, self.views.linked
        session.review_changed.connect(self._on_verdict)
        bar.mode_asked.connect(self.set_mode)
        bar.preset_asked.connect(linked.apply_preset)
        bar.link_asked.connect(self._set_linked)
        bar.tool_asked.connect(self._set_tool)
        bar.reset_asked.connect(linked.reset)
        bar.strength_asked.connect(self._on_strength)
        bar.reference_asked.connect(self._on_reference_asked)
        bar.doubt_asked.connect(self._on_doubt_asked)
        linked.slice_changed.connect(self._on_slice)
        linked.window_changed.connect(self._say_window)
        linked.auto_wanted.connect(self._auto_window)
        self.slices.read.connect(self._on_read)
        self.slices.cleaned.connect(self._on_arrived)
        self.slices.referenced.connect(self._on_arrived)
        self.slices.doubted.connect(self._on_arrived)
        self.slices.scored.connect(self.strip.set_score)
        self.slices.failed.connect(self._on_failed)
        self.strip.picked.connect(linked.first.set_slice)
        self.foot.stepped.connect(self.go_to_flag)
        self.regions.drawn.connect(lambda: self.bar.tool.setChecked(False))
        self.regions.changed.connect(self._measure)
        self.measurements.add_asked.connect(lambda: self.bar.tool.setChecked(True))
        self.chooser.chosen.connect(self._on_chosen)
        session.renewed.connect(self._on_renewed)
        session.scans_changed.connect(self._on_series)
        session.roles_changed.connect(self._on_series)
        session.pairs_changed.connect(self._open_reference)
        session.model_changed.connect(self._on_model)
        session.result_changed.connect(self._on_series)
        session.review_changed.connect(self._say_state)
        self.views.curtain.installEventFilter(self)

    # ---- page
    @property
    def subtitle(self) -> str:
        series = self.slices.series
        if series is None:
            return "Before and after, on series that training never saw"
        return reviewable.told(self.session, series)

    def rail_state(self) -> RailState:
        accepted = self.session.accepted
        if accepted is not None:
            return RailState("done", "Accepted") if accepted else RailState("warn", "Rejected")
        if not self.session.series and self.slices.series is None:
            return RailState("blocked", "Needs scans")
        return RailState("ready", "Your turn" if self.session.result is not None else "Ready")

    def enter(self) -> None:
        self.session.attempt(self.session.ensure_model)
        look, self.session.look = self.session.look, None
        if look is not None:
            self.open(look[0], look[1])
        elif self.slices.series is None and self.chooser.first() is not None:
            self._on_chosen(self.chooser.first())
        else:
            self._on_model()
        self.slices.sweep(True)
        if self.slices.series is not None:
            self.views.shown()[0].setFocus()

    def leave(self) -> None:
        self.slices.sweep(False)
        self.views.curtain.flicker(False)

    def release(self) -> None:
        """End this page's own threads."""
        self.slices.close()

    # ---- what is shown
    @Slot()
    def _on_renewed(self) -> None:
        self._guest = ""
        self.slices.close()

    @Slot()
    def _on_series(self) -> None:
        """Hold-out series first, then every other that can be shown."""
        current = self.slices.series
        if current is not None and self.session.find(current.uid) is None and current.uid != self._guest:
            self.slices.close()  # another project
            current = None
        self.chooser.show_series(reviewable.offered(self.session), reviewable.held_out(self.session), current)
        self._say_state()

    @Slot(object)
    def _on_chosen(self, series: Series | None) -> None:
        if series is not None and (self.slices.series is None or series.uid != self.slices.series.uid):
            self.open(series)

    def open(self, series: Series, index: int | None = None) -> None:
        """Show a series at a slice: at first a held-out one, else the middle."""
        if index is None:
            index = reviewable.first_slice(self.session, series)
        self._windowed, self._shown_model = False, ("", "")
        self._limit = self._doubt_limit = None
        # It may come from a folder that only Deliver knows.
        self._guest = series.uid if self.session.find(series.uid) is None else ""
        self._out = None
        self._say_problem(None)
        self.slices.open(series)
        self.strip.reset(series.slices, ALERT)
        self.figures.open(series)
        self.views.open(series, index)
        self._on_series()
        self._open_reference()
        self._on_model()

    @Slot()
    def _on_model(self) -> None:
        ref, device = str(self.session.model_ref), self.session.device
        series = self.slices.series
        if series is None or not ref or (ref, device) == self._shown_model or not self.isVisible():
            self._say_state()
            return
        self._shown_model = (ref, device)
        self._limit = self._doubt_limit = None
        self._say_problem(None)
        self.strip.reset(series.slices, ALERT)
        self.strip.set_current(self.index)
        self.slices.open_model(ref, device)
        self.slices.open_doubt(ref if self.views.with_doubt else "", device)
        self.slices.want(self.index)
        self.slices.sweep(True)
        self._show()
        self._say_state()

    @Slot()
    def _open_reference(self) -> None:
        series = self.slices.series
        pair = reviewable.partner(self.session, series) if series is not None else None
        repeat = pair is not None and pair.kind == "repeat"
        self.slices.open_reference(pair.clean if pair else None, dict(pair.slices) if pair else {})
        what = "Another repeat" if repeat else "Clean series"
        reason = f"{what}: {pair.clean.description}" if pair else "No clean series is paired with this one"
        on = self.bar.reference.isChecked() and pair is not None
        self.bar.show_reference(pair is not None, reason, on)
        self.views.reference.title = "Another repeat" if repeat else "Reference"
        self.views.reference.subtitle = (pair.clean.description,) if pair else ()
        self.views.set_reference(on)
        if pair is not None:
            self.slices.want(self.index)

    @property
    def index(self) -> int:
        """The slice on the screen, from 0."""
        return self.views.linked.first.slice

    @property
    def strength(self) -> float:
        return self.bar.strength.value() / 100

    @Slot(int)
    def _on_slice(self, index: int) -> None:
        self.slices.want(index)
        self.strip.set_current(index)
        self._show()

    @Slot(int)
    def _on_read(self, index: int) -> None:
        if index == self.index:
            if not self._windowed:
                self._windowed = True
                self.views.linked.apply_preset(1)
                self.figures.suggest(self.slices.noisy(index))
            self._show()

    @Slot(int)
    def _on_arrived(self, index: int) -> None:
        if index == self.index:
            self._show()

    @Slot()
    def _on_verdict(self) -> None:
        self.bar.strength.setValue(round(100 * self.session.strength))

    @Slot(int)
    def _on_strength(self, _value: int) -> None:
        self.session.set_strength(self.strength)
        self._show()

    def _show(self) -> None:
        series, read = self.slices.series, self.slices.noisy(self.index)
        if series is None:
            return
        net = self.slices.net(self.index)
        out = mix(read.pixels, net, self.strength) if read is not None and net is not None else None
        self._out = out
        if self._limit is None and read is not None and net is not None:
            # Fixed by the first slice at full strength, so that slices and strengths can be compared.
            self._limit = max(residual_limit(read.pixels - net, read.valid), 0.0025 * self.views.linked.first.width)
        self.views.name_model(short_title(self.session.model_ref), self.bar.strength.value())
        noisy = read.pixels if read is not None else None
        reference = self.slices.reference(self.index)
        doubt = self.slices.doubt(self.index)
        if self._doubt_limit is None and doubt is not None and read is not None:
            self._doubt_limit = max(residual_limit(doubt, read.valid), 0.0005 * self.views.linked.first.width)
        limit = self._doubt_limit if self.views.with_doubt else self._limit
        doubt = None if doubt is None else doubt * np.float32(self.strength)
        self.views.show_slice(noisy, out, reference, doubt, limit or 1.0, series.unit, "Reading …")
        if self.views.with_reference and not self.slices.has_reference(self.index):
            self.views.reference.set_image(None, message="This slice has no partner in the clean series.")
        self._measure()

    @Slot()
    def _measure(self) -> None:
        read = self.slices.noisy(self.index)
        before, after = self.figures.update_figures(read, self._out, self.bar.strength.value(), self.index)
        self.views.show_figures(before, after)

    # ---- saying
    def _say_problem(self, error: UserError | None) -> None:
        self._note.setVisible(error is not None)
        if error is not None:
            self.problem.show_text("err", error.hint, error.message)

    @Slot(str, int, object)
    def _on_failed(self, what: str, index: int, error: Exception) -> None:
        if index not in (-1, self.index):
            return
        if not isinstance(error, UserError):
            self.session.report(error)
            error = UserError("This slice could not be shown.", "The message says what happened.")
        if what == "scan":
            self.views.show_slice(None, None, None, None, self._limit or 1.0, "", f"{error.message} {error.hint}")
        self._say_problem(error)

    @Slot()
    def _say_state(self) -> None:
        ready = self.slices.series is not None
        self._stack.setCurrentIndex(1 if ready or self.session.series else 0)
        for one in (self.accept, self.reject, self.report):
            one.setEnabled(ready)
            one.setToolTip("" if ready else "Open a series first")
        self.changed.emit()

    @Slot()
    def _say_window(self) -> None:
        self.bar.show_window(self.views.linked.first)

    @Slot()
    def _auto_window(self) -> None:
        read, series = self.slices.noisy(self.index), self.slices.series
        if read is not None and series is not None:
            width, level = imaging.auto_window(read.pixels, read.valid, series.modality)
            self.views.linked.set_window(width, level, 1)
        self._say_window()

    # ---- acting
    def set_mode(self, mode: str) -> None:
        """side, curtain, flicker or difference."""
        self.views.set_mode(mode)
        self.bar.show_mode(mode)

    def _set_linked(self, linked: bool) -> None:
        self.views.linked.set_linked(linked)
        self.bar.show_link(linked)

    def _set_tool(self, drawing: bool) -> None:
        self.views.set_tool("point" if drawing else "window")

    def _on_reference_asked(self, on: bool) -> None:
        self.views.set_reference(on)
        self._show()

    def _on_doubt_asked(self, on: bool) -> None:
        """In place of the residual, which is brought into view."""
        if on and self.views.residual not in self.views.shown():
            self.set_mode("side")
        self.views.set_doubt(on)
        ref, device = self._shown_model
        self.slices.open_doubt(ref if on else "", device)
        self.slices.want(self.index)
        self._show()

    def toggle_flicker(self) -> None:
        if self.views.mode == "flicker":
            self.views.curtain.flicker(not self.views.curtain.flickering)
        else:
            self.set_mode("flicker")

    def hold(self, side: str) -> None:
        self.views.hold(side)
        self.bar.show_mode("flicker")

    def go_to_flag(self, direction: int) -> None:
        place = self.strip.step(self.index, direction)
        if place is not None:
            self.views.linked.first.set_slice(place)

    def _accept(self) -> None:
        self.session.strength = self.strength
        self.session.set_accepted(True)
        self.session.request_page("deliver")

    def _reject(self) -> None:
        self.session.set_accepted(False)
        self.session.toast.emit("info", "Rejected", "The model is kept; change the recipe and train again.")
        self.session.request_page("recipe")

    def _ask_report(self) -> None:
        folder = Path(self.session.settings.output_folder or Path.home())
        reports.ask_where(self, folder / "review.html", self.write_report)

    def write_report(self, path: Path) -> None:
        """The shown slice with its figures, as one HTML file."""
        reports.write(self.session, self._report, path)

    def _report(self) -> Report:
        series, read, out = self.slices.series, self.slices.noisy(self.index), self._out
        if series is None or read is None or out is None:
            raise UserError("The slice is not ready yet.", "Wait until it is denoised.")
        first = self.views.linked.first
        shown = reports.Shown(
            series,
            self.index,
            read.pixels,
            out,
            self.slices.reference(self.index) if self.views.with_reference else None,
            (first.width, first.level),
            self._limit or 1.0,
            self.bar.strength.value(),
        )
        model = self.measurements.model
        rows = tuple(model.cells(number) for number in range(model.rowCount()))
        facts = reports.session_facts(self.session)
        noise, flags, scored = self.figures.noise, self.strip.flags(), self.strip.known()
        return reports.review_report(shown, facts, model.heads(), rows, noise, flags, scored, self.session.accepted)

    # Qt overrides

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if event.type() == QEvent.Type.KeyPress and self.views.curtain.flickering:
            self.views.curtain.flicker(False)
        return super().eventFilter(watched, event)

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        self.measurements.fit(self.window().height())

    def hideEvent(self, event: QHideEvent) -> None:
        self.views.curtain.flicker(False)
        super().hideEvent(event)

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self.measurements.fit(self.window().height())
