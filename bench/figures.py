"""What a bench found: samples by name, their medians, and whether they reach their goals.

What lives here: figures as values, as JSON and as a table. What must not: measuring. Goals missed never fail a run: figures are read by
people.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import median


@dataclass(slots=True)
class Figure:
    """One figure's samples, one per repeat."""

    unit: str
    samples: list[float] = field(default_factory=list)


class Figures:
    """All figures of a run, in the order of their first sample; `goals` by name, a least one where the unit is per second."""

    def __init__(self, goals: Mapping[str, float]) -> None:
        self.goals = goals
        self.rows: dict[str, Figure] = {}

    def add(self, name: str, unit: str, sample: float) -> None:
        """One more sample."""
        self.rows.setdefault(name, Figure(unit)).samples.append(sample)

    def summary(self) -> dict[str, dict[str, object]]:
        """Per figure: median, samples, unit, and the goal with whether it is met, where there is one."""
        summed: dict[str, dict[str, object]] = {}
        for name, figure in self.rows.items():
            middle = round(median(figure.samples), 3)
            summed[name] = {"median": middle, "unit": figure.unit, "samples": figure.samples}
            if name in self.goals:
                goal, is_rate = self.goals[name], figure.unit.endswith("/s")
                summed[name] |= {"goal": goal, "is_met": middle >= goal if is_rate else middle <= goal}
        return summed


def print_table(summary: Mapping[str, Mapping[str, object]]) -> None:
    """The figures for people."""
    for name, row in summary.items():
        goal = f"goal {row['goal']:>8}  {'met' if row['is_met'] else 'MISSED'}" if "goal" in row else ""
        print(f"{name:<64} {row['median']:>12} {row['unit']!s:<14} {goal}")
