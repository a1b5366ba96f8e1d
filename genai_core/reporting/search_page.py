"""The page of a search: its winner, measured again; history, importance, slices, Pareto front, samples, all trials."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from genai_core.reporting.page import MISSING, Picture, seconds_text
from genai_core.reporting.scatter import Dot, Kind, scatter_svg
from genai_core.reporting.templates import template_environment

TEMPLATE = "search.html.j2"
Trial = Mapping[str, Any]


@dataclass(frozen=True)
class SearchPage:
    """What a study has found. values: as `genai search` stores them (study.json). samples: of the best trials.

    report: the path of the last run's report from this page; None if there is none.
    """

    values: Mapping[str, Any]
    samples: tuple[Picture, ...]
    created: str
    report: str | None = None

    @property
    def metric(self) -> str:
        return str(self.values["metric"])

    @property
    def trials(self) -> list[Trial]:
        return list(self.values["trials"])

    @property
    def complete(self) -> list[Trial]:
        return [trial for trial in self.trials if trial["distance"] is not None]

    @property
    def best(self) -> Trial | None:
        return next((trial for trial in self.trials if trial["number"] == self.values["best"]), None)

    @property
    def keys(self) -> dict[str, str]:
        """The keys of the space, each with a short name."""
        return dict(self.values["names"])

    @property
    def again(self) -> list[tuple[str, Trial, Mapping[str, Any]]]:
        """What was measured again: a name, the trial, its new figures."""
        found = []
        for number, fresh in self.values["fresh"].items():
            trial = next(trial for trial in self.trials if trial["number"] == int(number))
            what = "winner" if trial == self.best else "settings before the search"
            if trial == self.best and trial["present"]:
                what = "winner, which is the settings before the search"
            found.append((f"trial {number}, {what}", trial, fresh))
        return found

    @property
    def history(self) -> str:
        """All complete trials in order, and the best so far."""
        line: list[tuple[float, float]] = []
        best: float | None = None
        for trial in self.complete:
            if best is not None:
                line.append((trial["number"], best))
            best = trial["distance"] if best is None else min(best, trial["distance"])
            line.append((trial["number"], best))
        dots = [self._dot(trial, trial["number"]) for trial in self.complete]
        return scatter_svg(f"{self.metric} by trial, and the best so far", dots, "trial", line=line)

    @property
    def rungs(self) -> str | None:
        """What trials measured while they trained, by the share of the training; None if nothing was."""
        share = self.values["first_share"]
        dots = [
            Dot(int(step) * share, distance, self._name(trial), self._kind(trial))
            for trial in self.trials
            for step, distance in trial["rungs"].items()
        ]
        title = "sliced distance while training, at the rungs"
        return scatter_svg(title, dots, "share of the training") if dots and share else None

    @property
    def slices(self) -> list[str]:
        """For each key, the complete trials by its value."""
        return [self._slice(key, name) for key, name in self.keys.items()]

    @property
    def front(self) -> str | None:
        """Distance by seconds an image, with the trials that no other one beats in both; None for one objective."""
        if len(self.values["objectives"]) < 2 or not self.complete:
            return None
        at_front = [trial for trial in self.complete if trial["number"] in self.values["front"]]
        corners = sorted((trial["seconds_per_image"], trial["distance"]) for trial in at_front)
        dots = [
            Dot(
                trial["seconds_per_image"],
                trial["distance"],
                self._name(trial),
                "best" if trial in at_front else "plain",
            )
            for trial in self.complete
        ]
        return scatter_svg(f"{self.metric} and speed", dots, "seconds an image", log_x=True, line=corners)

    def counts(self) -> str:
        states = [trial["state"] for trial in self.trials]
        return ", ".join(
            f"{states.count(state)} {state}" for state in ("complete", "pruned", "failed") if state in states
        )

    def _slice(self, key: str, name: str) -> str:
        given = self.values["space"][key]
        choices: Sequence[str] = given.get("choices", ())
        dots = []
        for trial in self.complete:
            if key in trial["values"]:
                value = trial["values"][key]
                x = float(choices.index(_label(value))) if choices else float(value)
                dots.append(self._dot(trial, x))
        return scatter_svg(name, dots, key, log_x=bool(given.get("log")), choices=choices)

    def _dot(self, trial: Trial, x: float) -> Dot:
        return Dot(x, trial["distance"], self._name(trial), self._kind(trial))

    def _kind(self, trial: Trial) -> Kind:
        if trial == self.best:
            return "best"
        return "present" if trial["present"] else "plain"

    def _name(self, trial: Trial) -> str:
        values = ", ".join(f"{self.keys[key]} {_label(value)}" for key, value in trial["values"].items())
        distance = "" if trial["distance"] is None else f", {self.metric} {trial['distance']:.4g}"
        return f"trial {trial['number']}, {trial['state']}{distance}: {values}"


def render_search_page(page: SearchPage) -> str:
    """Render the page as HTML. All text is escaped, except for the charts of this package."""
    environment = template_environment()
    environment.filters |= {"svg": Markup, "figure": _figure, "seconds": seconds_text, "label": _label}
    return environment.get_template(TEMPLATE).render(page=page)


def _figure(value: float | None) -> str:
    return MISSING if value is None else f"{value:.4g}"


def _label(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
