"""The cases of a workspace as pages see them, and the steps that change them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from copy import deepcopy
from typing import Any

from cardiac_motion.serving.validation import RequestRejected
from cardiac_motion.workbench.jobs import CaseJobs
from cardiac_motion.workbench.log import Edits, apply_turn, describe_changes, history, state_of

Change = Callable[[Edits, Mapping[str, Any], Mapping[str, Any] | None], dict[str, Any]]


class Store(CaseJobs):
    """The cases of a workspace, a folder each; one server a workspace. A restarted server finds all and goes on.

    It is built in layers, each of which uses those beneath it alone: folders (``cases``), what was measured
    (``results``), what takes long (``jobs``), and, here, what pages show and the steps that they ask for. Arguments as
    in ``CaseJobs``.
    """

    def list_cases(self) -> list[dict[str, Any]]:
        """All cases, the latest first, with how far their jobs are."""
        with self.lock:
            found = [{**deepcopy(case), "progress": self.progress(name)} for name, case in self.known.items()]
        return sorted(found, key=lambda case: -case["created"])

    def show(self, name: str) -> dict[str, Any]:
        """Everything that a page shows of a case."""
        case, log = self.read(name), self.log(name)
        done, undone = history(log)
        results = self.results(name)
        return {
            **case, "progress": self.progress(name), "results": results, "revision": len(log),
            "log": [{key: value for key, value in entry.items() if key != "edits"} for entry in log],
            "edits": state_of(log), "can": {"undo": bool(done), "redo": bool(undone)},
            "methods": {method: found["row"] for method, found in self._current(name).items()},
            "manual": describe_changes(log), "files_current": self.files_current(name),
        }  # fmt: skip

    def check_revision(self, name: str, revision: int) -> None:
        """Refuse what was asked of a state of the case that is not the present one.

        Raises:
            RequestRejected: 409, the case was changed meanwhile.
        """
        now = len(self.log(name))
        if revision != now:
            raise RequestRejected(409, f"this case was changed meanwhile (step {now}, not {revision}): look again")

    def step(self, name: str, revision: int, method: str, who: str, change: Change) -> dict[str, Any]:
        """Take a step: measure with changed edits, then write it into the log; what fails leaves all as it was.

        What was measured with the same edits before is taken as it is. The other methods are measured again afterwards,
        and not shown until then.

        Args:
            revision: steps that the case had when this one was asked for.
            method: whose wall is shown.
            who: takes the step.
            change: from the edits so far, what is known of the case and the shown result to ``what`` (in words),
                ``field``, ``before``, ``after`` and either ``edits``, ``handles`` or ``clicks``.

        Returns:
            the case as a page shows it.

        Raises:
            RequestRejected: the case was changed meanwhile, or it can't be measured so.
        """
        with self._hold_case(name):
            self.check_revision(name, revision)
            log = self.log(name)
            edits = state_of(log)
            measured = [method] if self.has_motion(name, method) else self.methods_of(name)[:1]
            shown = self.find(name, measured[0], edits) if measured else None
            step = change(edits, self.known[name], shown and shown["result"])
            edits = step.get("edits", edits)
            found = self.find(name, measured[0], edits) if measured and "edits" in step else None
            if measured and not found:
                drawing = {key: step[key] for key in ("handles", "clicks") if key in step}
                answer = self.ask(name, "correct", method=measured[0], edits=edits, **drawing)
                edits = answer["edits"]
                self.keep(name, measured[0], answer)
            elif "edits" not in step:
                raise RequestRejected(409, "nothing is measured yet whose wall could be moved")
            entry: dict[str, Any] = {key: step[key] for key in ("what", "field", "before", "after") if key in step}
            entry |= {"when": time.strftime("%Y-%m-%dT%H:%M:%S%z"), "who": who, "method": method, "edits": edits}
            self.add_to_log(name, entry)
            status = "measured" if measured else self.known[name]["status"]
            self.update(name, failed=None, revision=len(log) + 1, methods=self._rows(name), status=status)
            answer = self.show(name)
        self.pool.submit(self._measure_others, name)
        return answer

    def turn(self, name: str, revision: int, method: str, who: str, what: str) -> dict[str, Any]:
        """``undo`` or ``redo``; it is a step of the log itself.

        Raises:
            RequestRejected: there is nothing to undo or redo, or as ``step``.
        """

        def change(*_: Any) -> dict[str, Any]:
            edits = apply_turn(self.log(name), what)
            if edits is None:
                raise RequestRejected(409, f"nothing to {what}")
            return {"what": what, "edits": edits}

        return self.step(name, revision, method, who, change)
