import json
from dataclasses import replace

import pytest

from tests.unit.metrics.cases import answered, block, case_of, failed
from vglamm.errors import ConfigError, CorpusError
from vglamm.metrics.conversation_report import Judges
from vglamm.metrics.published import OURS, PUBLISHED
from vglamm.metrics.report import Provenance, build, to_json, to_markdown
from vglamm.metrics.score import Measure, Record, Resampling, ratio
from vglamm.metrics.tasks import TASKS, Settings, find_task

LEFT, RIGHT = (10, 10, 20, 20), (10, 50, 20, 60)
QUICK = Settings(Resampling(resamples=50), Judges("exact", java=False))
TOLD = Provenance("tiny-0123", "conf", "mani", "valid_u", "c0ffee", {"run": 7}, {"precision": "fp32"})


def on(split: str) -> Provenance:
    return replace(TOLD, split=split)


def mevis_records() -> list[Record]:
    task = find_task("mevis")
    whole, wrong, lost, broken = (case_of(block(2, LEFT), f"mevis/valid_u/v/{i}", video=f"v{i // 2}") for i in range(4))
    broken = replace(broken, problem=CorpusError("no file", "a file", "get it"))
    return [
        task.score(whole, answered(whole, block(2, LEFT))),
        task.score(wrong, answered(wrong, block(2, RIGHT))),
        task.score(lost, failed(lost, "VideoUnreadable")),
        task.score(broken, None),
    ]


def test_the_same_records_in_any_order_give_the_same_bytes():
    records = mevis_records()
    body = build(find_task("mevis"), records, TOLD, QUICK)
    again = build(find_task("mevis"), records[::-1], TOLD, QUICK)
    assert to_json(body) == to_json(again)
    assert to_markdown(body) == to_markdown(again)
    assert json.loads(to_json(body)) == body


def test_what_the_report_counts():
    body = build(find_task("mevis"), mevis_records(), on("valid"), QUICK)
    assert body["cases"] == {
        "total": 4,
        "answered": 2,
        "failed": {"CorpusError": 1, "VideoUnreadable": 1},
        "skipped": {},
        "published": 3,
        "left out": {"CorpusError": 1},
    }
    j = body["sections"][0]["rows"][0]
    assert (j["measure"], j["unit"], j["paper"]) == ("j", "%", 42.07)
    assert (j["published"]["value"], j["published"]["n"]) == (33.333333, 3)
    assert (j["corrected"]["value"], j["corrected"]["n"]) == (25.0, 4)
    assert body["provenance"]["seeds"] == {"run": 7}
    assert body["tables"][0]["model"] == OURS


def test_tables_of_another_split_say_so():
    body = build(find_task("mevis"), mevis_records(), TOLD, QUICK)
    assert "| n | VideoGLaMM's paper, on valid |\n" in to_markdown(body)
    assert body["notes"][-1] == "The paper's numbers are of the split valid, these cases are of valid_u: no match."
    same = build(find_task("mevis"), mevis_records(), on("valid"), QUICK)
    assert "| n | VideoGLaMM's paper |\n" in to_markdown(same)
    assert "no match" not in str(same["notes"])
    lone = Record("hcstvg/val/0", "v", published={"gt_viou": 0.4}, corrected={"gt_viou": 0.4})
    assert "no match" not in str(build(find_task("hcstvg"), [lone], TOLD, QUICK)["notes"]), "nothing was published"


def test_the_markdown():
    text = to_markdown(build(find_task("mevis"), mevis_records(), on("valid"), QUICK))
    assert text.startswith("# MeViS\n\n- model: `tiny-0123`\n- config: `conf`\n")
    assert "- seed of run: `7`\n- precision: `fp32`\n" in text
    assert "4 cases, 2 answered; 2 failed (CorpusError 1, VideoUnreadable 1).\n" in text
    assert "The published scorer counts 3 of them; 1 left out (CorpusError 1).\n" in text
    assert "| J (%) | 33.33 [" in text
    assert "| 25.00 [" in text
    assert "| 4 | 42.07 |\n" in text
    assert "| VideoLISA | 41.3 | 47.6 | 44.4 | VideoGLaMM (CVPR 2025) |\n" in text


def test_a_table_of_one_group_stands_beside_that_group_alone():
    task = find_task("vidstg")
    records = [
        Record(f"vidstg/test/{i}", "v", kind, published={"gt_viou": 0.4}, corrected={"gt_viou": 0.4})
        for i, kind in enumerate(("interrogative", "declarative"))
    ]
    body = build(task, records, on("test"), QUICK)
    assert [(s["group"], s["rows"][0]["paper"]) for s in body["sections"]] == [
        ("", None),
        ("declarative", None),
        ("interrogative", 39.66),
    ]
    assert build(task, records[:1], on("test"), QUICK)["sections"][0]["rows"][0]["paper"] == 39.66
    assert body["sections"][0]["rows"][1]["published"]["note"] == "not computed: no case has it"


def test_conversations_are_reported_too():
    case = case_of(block(2, LEFT), "mevis_gcg/valid_u/v", phrases=("a | <man>",), caption="A man")
    records = [find_task("gcg").score(case, failed(case, "Time|Out"))]
    body = build(find_task("gcg"), records, on("val"), QUICK)
    rows = {row["measure"]: row for row in body["sections"][0]["rows"]}
    assert {name: row["paper"] for name, row in rows.items() if row["paper"]} == {
        "miou": 62.34,
        "recall": 0.375,
        "meteor": 0.103,
        "cider": 0.59,
        "clair": 28.2,
    }
    assert rows["miou"]["published"]["value"] is None
    assert rows["recall"]["corrected"]["value"] == 0
    text = to_markdown(body)
    assert "1 failed (Time\\|Out 1)" in text
    assert "not computed: java is turned off" in text
    assert "- clair: none\n" in text


def test_no_records_and_two_of_one_case_are_refused():
    records = mevis_records()
    for wrong in ([], [records[0], records[0]]):
        with pytest.raises(ConfigError):
            build(find_task("mevis"), wrong, TOLD, QUICK)


def test_every_task_sums_up_failures():
    for task in TASKS.values():
        meta = {"annotator": 0, "object": 1}
        case = case_of(block(1, LEFT), f"{task.name}/x/1", caption="It", meta=meta)
        body = build(task, [task.score(case, failed(case))], TOLD, QUICK)
        assert body["cases"]["failed"] == {"VideoUnreadable": 1}, task.name
        values = [row["corrected"]["value"] for row in body["sections"][0]["rows"]]
        assert set(values) <= {0, None}, task.name
        assert values[0] == 0, task.name
        assert to_markdown(body).startswith("# ")


def test_tasks_and_tables_know_each_other():
    assert set(PUBLISHED) <= {task.tables for task in TASKS.values()}
    assert all(rows[0].model == OURS for rows in PUBLISHED.values())
    with pytest.raises(ConfigError, match="mevis"):
        find_task("mevi")


@pytest.mark.parametrize(
    "wrong",
    [
        {"status": "lost", "published": {}},
        {"status": "failed", "published": {}},
        {"reason": "Error", "published": {}},
        {},
        {"published": {}, "left_out": "Error"},
    ],
)
def test_a_record_that_contradicts_itself_is_refused(wrong):
    with pytest.raises(ConfigError):
        Record("a", "v", **wrong)


def test_a_row_with_other_fields_is_no_record():
    row = Record("a", "v", published={}).to_row()
    with pytest.raises(ConfigError, match="score the cases again"):
        Record.from_row({**row, "more": 1})


def test_a_ratio_weighs_and_quotes():
    number = ratio(Measure("m", "M", percent=True), [(1, 2, "a"), (3, 6, "b")], QUICK.resampling)
    assert (number.value, number.low, number.high, number.n) == (50, 50, 50, 2)
    assert ratio(Measure("m", "M"), [(0, 0, "a")], QUICK.resampling, none="nothing").note == "not computed: nothing"
