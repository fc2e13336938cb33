"""Workers of this process that stand in for the real ones: they answer at once, and count what they are asked."""

import io
import threading
import zipfile
from pathlib import Path

from starlette.testclient import TestClient

from cardiac_motion.core.whole_files import write_whole
from cardiac_motion.serving.validation import RequestRejected
from cardiac_motion.workbench.jobs import Lanes
from cardiac_motion.workbench.server import make_server
from cardiac_motion.workbench.store import Store

SEGMENTS = ["basal inferoseptal", "mid inferoseptal", "apical inferoseptal",
            "apical anterolateral", "mid anterolateral", "basal anterolateral"]  # fmt: skip
ABOUT = {"kind": "cine", "ready": True, "frames": 50, "height": 100, "width": 120, "sizes": [1], "times": None,
         "frame_time_source": None, "rate": None, "spacing": None, "zoom": [1.0, 1.0], "view": "apical_4ch",
         "probability": 0.9, "notes": []}  # fmt: skip


def result_of(method, edits, blocked=()):
    """A result whose GLS tells the edits that it was measured with."""
    gls = None if blocked else -20.0 + 0.1 * len(str(edits))
    rows = [{"name": name, "rejected": name in edits.get("exclude_segments", [])} for name in SEGMENTS]
    result = {
        "method": method, "title": method, "view": edits.get("view", "apical_4ch"), "segments": rows,
        "beats": [{"ed": edits.get("ed", 3), "es": edits.get("es", 19), "end": 45, "complete_beat": True}],
        "means": {} if blocked else {"gls": gls}, "blocked": list(blocked), "lines": {},
    }  # fmt: skip
    row = {"title": method, "gls": gls, "similarity": 0.7, "view": result["view"], "blocked": list(blocked),
           "drift": None, "ejection_fraction": None, "seconds": 1.0, "excluded": 0}  # fmt: skip
    return {"edits": edits, "result": result, "row": row}


class StandIn:
    """Does requests here; ``hold`` keeps those of a task waiting until ``go`` is set."""

    def __init__(self):
        self.asked, self.go, self.held, self.fails = [], threading.Event(), set(), {}
        self.blocked = ()
        self.go.set()

    def count(self, task):
        return sum(request["task"] == task for request in self.asked)

    def run(self, request, job=None):
        self.asked.append(dict(request))
        while request["task"] in self.held and not self.go.wait(0.02):
            if job is not None and job.cancelled.is_set():
                raise RequestRejected(499, "the client is gone")
        if request["task"] in self.fails:
            raise RequestRejected(422, self.fails[request["task"]])
        return getattr(self, request["task"])(request)

    def warm(self, request):
        return {}

    def open(self, request):
        return dict(ABOUT)

    def measure(self, request):
        folder = Path(request["case"]) / "motion" / request["method"]
        with write_whole(folder / "motion.json") as beside:
            beside.write_text("{}", encoding="utf-8")
        return {**result_of(request["method"], request["edits"], self.blocked), "costs": {"strain": 0.1}}

    def correct(self, request):
        edits = dict(request["edits"])
        for key in ("handles", "clicks"):
            if request.get(key):
                edits["drawn"] = {**edits.get("drawn", {}), str(request[key]["frame"]): [[[0.0, 0.0]]] * 3}
        return result_of(request["method"], edits, self.blocked)

    def points(self, request):
        return {"path": [], "displacement": [], "distance": [], "unit": "px"}

    line = points

    def study(self, request):
        return {"gls": {m["title"]: -20.0 for m in request["members"]}, "gls_average": None, "interval": None,
                "ejection_fraction": None, "biplane": None, "bullseye": "", "blocked": {}, "missing": []}  # fmt: skip

    def take(self, request):
        content = io.BytesIO()
        with zipfile.ZipFile(content, "w") as archive:
            archive.writestr("name/report.html", f"<p>GLS {result_of('', request['edits'])['row']['gls']:.1f}</p>")
            archive.writestr("name/sr.dcm", "sr")
        with write_whole(Path(request["case"]) / "take.zip") as beside:
            beside.write_bytes(content.getvalue())
        return {"files": ["report.html", "sr.dcm"], "name": "name"}

    def close(self):
        self.go.set()


class Bench:
    """A store and its server, with workers that stand in."""

    def __init__(self, folder):
        self.work, self.quick, self.hands = StandIn(), StandIn(), StandIn()
        self.folder = Path(folder)
        self.store = Store(self.folder, Lanes(self.work, self.quick, self.hands))
        example = self.folder / "example.dcm"
        example.write_bytes(b"x")
        server = make_server(self.store, ("testserver",), "secret", None, 2**20, example)
        self.client = TestClient(server, cookies={"workbench": "secret"}, raise_server_exceptions=False)

    def upload(self, name="a.dcm", body=b"x", **query):
        answer = self.client.post("/api/uploads", params={"name": name, **query}, content=body)
        assert answer.status_code == 200, answer.text
        return answer.json()["id"]

    def settled(self, name, until=lambda case: True, seconds=10):
        """The case when nothing is being done with it."""
        wait = threading.Event()
        for _ in range(int(seconds / 0.02)):
            found = self.case(name)
            if not found["progress"] and not found.get("doing") and until(found):
                return found
            wait.wait(0.02)
        raise TimeoutError(str(found))

    def measured(self, name="a.dcm", **query):
        return self.settled(self.upload(name, **query), lambda case: case["status"] == "measured")

    def case(self, name):
        return self.client.get(f"/api/cases/{name}").json()

    def post(self, case, action, /, **body):
        body = {"revision": case["revision"], **body}
        return self.client.post(f"/api/cases/{case['id']}/{action}", json=body)

    def step(self, case, what, value):
        answer = self.post(case, "step", what=what, value=value)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def close(self):
        self.store.close()
