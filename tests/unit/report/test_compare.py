"""What changed between two states, by tables small enough to work by hand."""

from __future__ import annotations

import json
import math

import pytest
from scipy.stats import norm, t

from alexnet.data.revisions import Snapshot
from alexnet.errors import UserError
from alexnet.report.compare import compare, render, to_json

TABLE = "model,split,metric,value,ci_low,ci_high,ci_over,n,paper,difference,reason\n"
CLAIMS = "id,claim,kind,value,ci_low,ci_high,seeds,images,p_value,verdict,reason\n"


def states(name, before, after, params=("a: 1\n", "a: 1\n")):
    return (
        Snapshot("old", {name: before, "params.yaml": params[0]}),
        Snapshot("new", {name: after, "params.yaml": params[1]}),
    )


def of_table(before, after, tolerance=0.0):
    return compare(*states("results/table2.csv", TABLE + before, TABLE + after), tolerance)


def by_place(comparison):
    return {number.where.split(": ", 1)[1]: number for number in comparison.numbers}


def test_intervals_over_images_are_compared_by_the_normal():
    found = of_table("1 CNN,val,top1_error,0.4,0.38,0.42,images,1000,,,\n", "1 CNN,val,top1_error,0.43,0.41,0.45,images,1000,,,\n")  # fmt: skip
    number = by_place(found)["1 CNN val top1_error, value"]
    error = 0.02 / norm.ppf(0.975)
    assert number.p_value == pytest.approx(2 * norm.sf(0.03 / (error * math.sqrt(2))), rel=1e-4)
    assert number.intervals == ((0.38, 0.42), (0.41, 0.45)) and found.is_significant(number)
    assert found.num_numbers == 4  # value, both bounds, n
    assert [each.is_bound for each in found.numbers] == [False, True, True]
    assert by_place(found)["1 CNN val top1_error, ci_low"].untested == "no interval"


def test_intervals_over_seeds_are_compared_by_students_t():
    """Where both are over two seeds, the t of one degree of freedom wants much more of a difference."""
    rows = [
        "1 CNN,val,top1_error,{},{},{},seeds,2,,,\n".format(*row)
        for row in ((0.4, 0.3, 0.5), (0.5, 0.4, 0.6))
    ]
    number = by_place(of_table(*rows))["1 CNN val top1_error, value"]
    error = 0.1 / t.ppf(0.975, 1)
    assert number.p_value == pytest.approx(2 * t.sf(0.1 / (error * math.sqrt(2)), 1), rel=1e-4)


def test_an_interval_over_both_takes_the_larger_p():
    """Beyond the interval t has the heavier tail, within it the normal has the wider spread."""
    for value in (0.012, 0.2):
        rows = [
            "x,y,effect,0.0,-0.01,0.01,3,1000,,undecided,\n",
            f"x,y,effect,{value},{value - 0.01},{value + 0.01},3,1000,,undecided,\n",
        ]  # fmt: skip
        found = compare(*states("results/claims.csv", *(CLAIMS + row for row in rows)), 0.0)
        ratio = value / (0.01 * math.sqrt(2))
        p_t, p_z = 2 * t.sf(ratio * t.ppf(0.975, 2), 2), 2 * norm.sf(ratio * norm.ppf(0.975))
        assert (p_t > p_z) == (value == 0.2)
        assert by_place(found)["x, value"].p_value == pytest.approx(max(p_t, p_z), rel=1e-3)


def test_a_ratio_is_compared_by_its_logarithm():
    rows = ["x,y,ratio,4,2,8,,500,,undecided,\n", "x,y,ratio,6,3,12,,500,,undecided,\n"]
    found = compare(*states("results/claims.csv", *(CLAIMS + row for row in rows)), 0.0)
    error = math.log(2) / norm.ppf(0.975)
    expected = 2 * norm.sf(math.log(1.5) / (error * math.sqrt(2)))
    assert by_place(found)["x, value"].p_value == pytest.approx(expected, rel=1e-4)
    rows[1] = "x,y,ratio,6,-3,12,,500,,undecided,\n"
    found = compare(*states("results/claims.csv", *(CLAIMS + row for row in rows)), 0.0)
    assert by_place(found)["x, value"].untested == "a ratio that is not above 0"


def test_the_difference_from_the_paper_has_the_interval_of_the_value():
    found = of_table("1 CNN,val,top1_error,0.4,0.38,0.42,images,1000,0.407,-0.007,\n", "1 CNN,val,top1_error,0.43,0.41,0.45,images,1000,0.407,0.023,\n")  # fmt: skip
    numbers = by_place(found)
    difference = numbers["1 CNN val top1_error, difference"]
    assert difference.p_value == pytest.approx(numbers["1 CNN val top1_error, value"].p_value)
    assert difference.intervals[1] == pytest.approx((0.003, 0.043))
    assert "1 CNN val top1_error, paper" not in numbers


def test_the_interval_is_about_the_column_before_it():
    head = "name,base,metric,value,base_value,difference,ci_low,ci_high,seeds,images\n"
    rows = [
        "no_lrn,cnn,top1,0.42,0.40,0.02,0.01,0.03,3,1000\n",
        "no_lrn,cnn,top1,0.45,0.40,0.05,0.04,0.06,3,1000\n",
    ]
    numbers = by_place(compare(*states("results/ablations.csv", *(head + row for row in rows)), 0.0))
    assert numbers["no_lrn cnn top1, difference"].p_value is not None
    assert numbers["no_lrn cnn top1, value"].untested == "no interval"


def test_small_changes_are_within_the_tolerance():
    rows = [
        "1 CNN,val,top1_error,0.400000,,,images,1000,,,\n",
        "1 CNN,val,top1_error,0.400001,,,images,1000,,,\n",
    ]
    assert len(of_table(*rows).numbers) == len(of_table(*rows[::-1]).numbers) == 1
    assert len(of_table(*rows[::-1], tolerance=5e-7).numbers) == 1
    thousandth = [row.replace("0.400001", "0.401") for row in rows]  # 0.401 - 0.4 is a little more than 0.001
    assert of_table(*thousandth, tolerance=0.001).numbers == []
    found = of_table(*rows, tolerance=0.000002)
    assert found.numbers == [] and found.num_within == 1
    assert "Numbers that changed by more than 2e-06: 0 of 2 in both, and 1 by less" in render(
        found, with_words=False
    )


def test_verdicts_parameters_and_words():
    before = CLAIMS + "lrn,LRN helps,effect,,,,,,,not run,No data.\nrelu,y,effect,,,,,,,reproduced,Yes.\n"
    after = (
        CLAIMS + "lrn,LRN does help,effect,,,,,,,undecided,More seeds.\nrelu,y,effect,,,,,,,reproduced,Yes.\n"
    )
    found = compare(*states("results/claims.csv", before, after, ("a: {b: 1, c: [1, 2]}\n", "a: {b: 2, c: [1, 2], d: x}\n")), 0.0)  # fmt: skip
    assert [(each.where, each.before, each.after) for each in found.verdicts] == [
        ("results/claims.csv: lrn, verdict", "not run", "undecided")
    ]
    assert [(each.where, each.before, each.after) for each in found.params] == [
        ("a.b", "1", "2"),
        ("a.d", None, '"x"'),
    ]
    assert [each.where for each in found.words] == [
        f"results/claims.csv: lrn, {name}" for name in ("claim", "reason")
    ]
    text = render(found, with_words=True)
    assert "Verdicts that changed: 1\n  results/claims.csv: lrn, verdict  not run  ->  undecided\n" in text
    assert "No data." in text and "No data." not in render(found, with_words=False)


def test_a_verdict_that_is_new_or_gone_is_no_changed_one():
    row = "lrn,LRN helps,effect,,,,,,,reproduced,Yes.\n"
    for rows in ((row, ""), ("", row), (row, row.replace("reproduced", ""))):
        found = compare(*states("results/claims.csv", *(CLAIMS + each for each in rows)), 0.0)
        assert found.verdicts == []
    gone = compare(*states("results/claims.csv", CLAIMS + row, CLAIMS), 0.0)
    assert gone.notes == ["results/claims.csv: new has no row for lrn"]


def test_metrics_are_compared_by_what_stands_beside_them():
    def metrics(difference, error, top1):
        val = {"images": 1000, "ten_views": {"top1_error": top1}}
        effects = {"lrn": {"difference": difference, "standard_error": error}}
        return json.dumps(
            {"effects": effects, "members": {"cnn1": {"val": val}}, "table2": {"top1_error": top1}}
        )

    found = compare(
        *states("results/metrics.json", metrics(0.01, 0.003, 0.4), metrics(0.02, 0.004, 0.45)), 0.0
    )
    numbers = by_place(found)
    assert numbers["effects.lrn.difference"].p_value == pytest.approx(2 * norm.sf(2), rel=1e-4)
    member = numbers["members.cnn1.val.ten_views.top1_error"]
    assert member.intervals[0] == pytest.approx((0.370053, 0.430669), abs=1e-4)  # Wilson's, of 400 in 1000
    assert member.p_value == pytest.approx(0.0233, abs=1e-4)  # of Wilson's widths
    assert numbers["table2.top1_error"].untested == "no interval"
    with pytest.raises(UserError, match="metrics.json of new: is no JSON"):
        compare(*states("results/metrics.json", "{}", "{"), 0.0)


def test_files_columns_and_numbers_that_one_lacks_are_said():
    before = Snapshot("old", {"results/table1.csv": "model,value\na,1\nb,\n", "params.yaml": "a: 1\n"})
    after = Snapshot("new", {"results/table1.csv": "model,value,n\na,,5\nb,2,5\n", "results/x.csv": "a\n"})
    found = compare(before, after, 0.0)
    assert found.notes == ["new has no params.yaml", "old has no results/x.csv"]
    assert found.params == []
    assert {where: number.untested for where, number in by_place(found).items()} == {
        "a, value": "gone", "a, n": "new", "b, value": "new", "b, n": "new",
    }  # fmt: skip
    assert compare(Snapshot("a", {}), Snapshot("b", {}), 0.0).notes == ["they have no file in common"]


def test_rows_are_told_apart_by_their_names():
    before = (
        "protocol,part,switch,default,metric,difference\npaper,whole,,,top1,1\npaper,switch,crop,28,top1,3\n"
    )
    moved = before.replace("28,top1,3", "32,top1,4")
    found = compare(*states("results/protocols.csv", before, moved), 0.0)
    assert list(by_place(found)) == ["paper switch crop top1, default", "paper switch crop top1, difference"]


def test_rows_of_a_table_unknown_to_us_are_told_apart_by_the_fewest_columns():
    before = "who,what,much\na,x,1\na,y,2\n"
    found = compare(*states("results/odd.csv", before, before.replace("y,2", "y,3")), 0.0)
    assert list(by_place(found)) == ["a y, much"]
    same = "who,what\n1,2\n1,2\n"
    assert compare(*states("results/odd.csv", same, same), 0.0).numbers == []


def test_intervals_of_different_confidence_are_not_compared():
    rows = [TABLE + f"1 CNN,val,top1_error,{value},0.3,0.5,images,9,,,\n" for value in (0.4, 0.45)]
    params = ("tables: {confidence: 0.95}\n", "tables: {confidence: 0.9}\n")
    found = compare(*states("results/table2.csv", *rows, params), 0.0)
    assert found.numbers[0].untested == "different confidence"
    assert found.notes == ["intervals are of different confidence, so no number is tested"]
    same = compare(*states("results/table2.csv", *rows, (params[1], params[1])), 0.0)
    error = 0.1 / norm.ppf(0.95)
    assert same.numbers[0].p_value == pytest.approx(2 * norm.sf(0.05 / (error * math.sqrt(2))), rel=1e-4)


def test_the_text_counts_what_chance_would_do_and_marks_what_it_would_not():
    found = of_table("1 CNN,val,top1_error,0.4,0.38,0.42,images,1000,,,\n", "1 CNN,val,top1_error,0.5,0.48,0.52,images,1000,,,\n")  # fmt: skip
    text = render(found, with_words=False)
    assert "Numbers that changed: 3 of 4 in both; 2 of them bounds of intervals" in text
    assert "tested: 1; significant at 0.05, marked *: 1 (by chance alone about 0.1 would be)" in text
    line = next(line for line in text.splitlines() if "value" in line)
    assert "0.4 (0.38 to 0.42)" in line and "+0.1" in line and line.endswith(" *")
    about = json.loads(to_json(found))
    assert [each["significant"] for each in about["numbers"]] == [True, None, None]
    assert about["before"] == "old" and about["num_numbers"] == 4


def test_broken_files_are_refused():
    with pytest.raises(UserError, match="x.csv of old: has a row with more fields than columns"):
        compare(*states("results/x.csv", "a,b\n1,2,3\n", "a,b\n"), 0.0)
    with pytest.raises(UserError, match=r"params.yaml of new: is no YAML"):
        compare(*states("results/x.csv", "a\n", "a\n", ("a: 1\n", "a: [\n")), 0.0)
