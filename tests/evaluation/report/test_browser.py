"""The page in a real browser."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from chromium import browser, requests
from report_kit import HOSTILE, make_run, number_of, toy_bench

from evaluation.compare import compare
from evaluation.report.comparison import ComparisonPage, write_comparison
from evaluation.report.examples import Examples
from evaluation.report.page import RunPage, write_page
from evaluation.report.view import view
from evaluation.scoring import score_run


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with browser(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


def first(task: str, example: str, shots: int) -> bool:
    """Every third example at no shots; at five shots all of one task, and nothing of the others."""
    return number_of(example) % 3 == 0 if shots == 0 else task == "superni/write"


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A page of two runs: one as `first` says, one that is never right."""
    folder = tmp_path_factory.mktemp("report")
    bench = toy_bench(folder / "data", sample=True)
    runs = []
    for name in ("first", "second"):
        path = make_run(
            folder / "out",
            bench,
            first if name == "first" else lambda *_: False,
            name=name,
        )
        report = score_run(path)
        runs.append(RunPage(view(report), Examples(path, report, bench, 50), 50))
    write_page(runs, folder / "index.html")
    return (folder / "index.html").as_uri()


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The page that sets the same two runs against each other."""
    folder = tmp_path_factory.mktemp("compared")
    bench = toy_bench(folder / "data", sample=True)
    runs = [
        make_run(folder / "out", bench, right, name=name)
        for name, right in (("first", first), ("second", lambda *_: False))
    ]
    reports = [score_run(run) for run in runs]
    ours, theirs = (Examples(run, report, bench, 0) for run, report in zip(runs, reports, strict=True))
    page = ComparisonPage(compare(*reports), reports[0].record, ours, theirs)
    write_comparison(page, folder / "index.html")
    return (folder / "index.html").as_uri()


@pytest.fixture
def opened(driver: Any, address: str) -> Any:
    driver.get("about:blank")
    requests(driver), driver.get_log("browser")
    driver.get(address)
    return driver


def texts(driver: Any, css: str) -> list[str]:
    """What a reader sees of all visible elements, from top to bottom."""
    seen = "[...document.querySelectorAll(arguments[0])].filter(e => e.checkVisibility())"
    return [str(text) for text in driver.execute_script(f"return {seen}.map(e => e.innerText)", css)]


def click(driver: Any, css: str, which: int = 0) -> None:
    driver.execute_script("document.querySelectorAll(arguments[0])[arguments[1]].click()", css, which)


def examples(driver: Any, button: str) -> list[str]:
    """Open the examples behind a number, and wait until they are unpacked."""
    from selenium.webdriver.support.wait import WebDriverWait

    click(driver, button)
    WebDriverWait(driver, 20).until(lambda d: texts(d, "dialog[open] .example"))
    return texts(driver, "dialog[open] .example")


def test_it_opens_without_an_error_and_without_a_request(opened: Any, address: str) -> None:
    examples(opened, "#r0 [data-table=tasks] [data-chunk]")
    assert opened.get_log("browser") == []
    assert requests(opened) == [address]


def test_the_policy_forbids_a_request_that_slips_in(opened: Any, address: str) -> None:
    opened.execute_script(
        "document.body.append(Object.assign(new Image(), {src: 'http://127.0.0.1:9/x.png'}))"
    )
    assert any("Content Security Policy" in entry["message"] for entry in opened.get_log("browser"))


def test_a_column_sorts_both_ways_and_numbers_as_numbers(opened: Any) -> None:
    table = "#r0 [data-table=tasks]"
    names = texts(opened, f"{table} td:first-child")
    click(opened, f"{table} th button", 0)
    click(opened, f"{table} th button", 0)
    assert texts(opened, f"{table} td:first-child") == sorted(names, reverse=True)
    click(opened, f"{table} th button", 4)
    values = [float(text) for text in texts(opened, f"{table} td:nth-child(5) b")]
    assert values == sorted(values, reverse=True) and values[0] == 100.0 and len(set(values)) == 3
    click(opened, f"{table} th button", 4)
    assert [float(text) for text in texts(opened, f"{table} td:nth-child(5) b")] == values[::-1]
    for expected in (["+60.0†", "−37.5†", "−100.0†"], ["−100.0†", "−37.5†", "+60.0†"]):
        click(opened, f"{table} th button", 6)
        assert texts(opened, f"{table} td:last-child") == expected


def test_words_and_level_filter(opened: Any) -> None:
    section = "#r0 .tasks"
    opened.execute_script(
        "const s = document.querySelector(arguments[0]); s.querySelector('[data-filter]').value = 'HOSTILE';"
        "s.querySelector('[data-filter]').dispatchEvent(new Event('input', {bubbles: true}))",
        section,
    )
    assert texts(opened, f"{section} tbody td:first-child") == ["superni/hostile"]
    assert texts(opened, f"{section} output") == ["1 of 3"]


def test_a_level_leads_to_its_tasks_and_a_task_to_its_examples(opened: Any) -> None:
    click(opened, "#r0 .card [data-level=partially_supervised]")
    assert texts(opened, "#r0 .tasks tbody td:first-child") == ["superni/write"]
    row = "#r0 .tasks tbody tr:not([hidden])"
    found = examples(opened, f"{row} [data-shots='5']")
    assert len(found) == 10 and all("score 100.0" in text for text in found)
    assert "10 of 10 predictions are in this page" in texts(opened, "dialog output")[0]
    assert "What follows e" in found[0] and "Reference" in found[0] and "Prediction" in found[0]
    opened.execute_script("document.querySelector('dialog details').open = true")
    assert "Count on." in texts(opened, "dialog details[open] pre")[0]
    assert "What follows d0?" in texts(opened, "dialog details[open] pre")[0]


def test_the_weakest_category_comes_first_and_leads_to_its_tasks(opened: Any) -> None:
    """At five shots only `superni/write` is ever right."""
    (weakest,), (strongest,) = (
        texts(opened, f"#r0 [data-table={name}] td:first-child") for name in ("weakest", "strongest")
    )
    assert strongest.split() == ["Word", "Analogy", "partially", "supervised"]
    assert weakest != strongest
    click(opened, "#r0 [data-table=strongest] button")
    assert texts(opened, "#r0 .tasks tbody td:first-child") == ["superni/write"]


def test_a_category_and_a_source_lead_to_their_tasks(opened: Any) -> None:
    click(opened, "#r0 [data-table=sources] button[data-source^=superni]")
    assert texts(opened, "#r0 .tasks tbody td:first-child") == ["superni/hostile", "superni/write"]
    click(opened, "#r0 [data-table=categories] button[data-category^=Textual]")
    assert texts(opened, "#r0 .tasks tbody td:first-child") == ["flan/choose"]


def test_options_show_their_probabilities_and_wrong_ones_can_be_picked(opened: Any) -> None:
    found = examples(opened, "#r0 [data-chunk$='t0'][data-shots='0']")
    assert len(found) == 16
    assert "88.1%" in found[0] and "11.9%" in found[0] and "← prediction" in found[0]
    opened.execute_script(
        "const s = document.querySelector('dialog [data-which]'); s.value = 'wrong';"
        "s.dispatchEvent(new Event('change', {bubbles: true}))"
    )
    assert len(texts(opened, "dialog .example")) == 10, "e0, e3 and e6 are right, under two templates each"


def test_what_a_model_says_is_shown_as_text(opened: Any) -> None:
    title = opened.title
    (found,) = examples(opened, "#r1 [data-chunk$='t1'][data-shots='0']")
    assert f"nothing {HOSTILE}" in found and f"Say {HOSTILE}" in found
    assert any(HOSTILE in text for text in texts(opened, "#r0 [data-table=categories] td"))
    assert opened.execute_script("return document.querySelectorAll('main img, dialog img').length") == 0
    assert opened.title == title


def test_one_run_is_shown_at_a_time(opened: Any) -> None:
    (title,) = texts(opened, "main > section:first-child > h1")
    assert title.startswith("first all-")
    click(opened, ".tabs a", 1)
    opened.execute_async_script("setTimeout(arguments[0], 50)")
    (title,) = texts(opened, "main > section:first-child > h1")
    assert title.startswith("second all-")
    assert texts(opened, "#r1 .card .big")[0].startswith("0.0")


def test_a_comparison_leads_to_what_was_won_and_lost(driver: Any, compared: str) -> None:
    """The second run is never right: it loses what the first had right, and wins nothing."""
    driver.get("about:blank")
    requests(driver), driver.get_log("browser")
    driver.get(compared)
    rows = texts(driver, "[data-table=task] tbody tr")
    assert [row.split()[0] for row in rows[:2]] == ["superni/hostile", "superni/write"], "the largest first"
    assert texts(driver, "[data-table=task] [data-verdict=won]") == []
    found = examples(driver, "[data-table=task] [data-chunk='t2'][data-shots='5']")
    assert len(found) == 10 and all(text.startswith("e") and "lost: A 100.0, B 0.0" in text for text in found)
    assert found[0].count("Reference") == 1
    assert f"nothing {HOSTILE}" in found[0]
    (choice, *_) = examples(driver, "[data-table=task] [data-chunk='t0'][data-shots='0']")
    assert choice.count("✓ reference") == choice.count("← prediction") == 2
    assert re.fullmatch(r"second \(all-\w+\) against first \(all-\w+\) · OPT-IML Bench", driver.title)
    assert driver.get_log("browser") == []
    assert requests(driver) == [compared]


def test_every_number_of_sample_data_is_marked(opened: Any) -> None:
    assert any("Sample data" in text for text in texts(opened, ".banner"))
    numbers = texts(opened, "#r0 td [data-shots], #r0 .big")
    assert len(numbers) > 30 and all("†" in text for text in numbers)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_the_page_on_a_phone_by_day_and_night(
    driver: Any, address: str, scheme: str
) -> None:
    metrics = {"width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": True}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    feature = {"name": "prefers-color-scheme", "value": scheme}
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
    try:
        driver.get(address)
        assert driver.execute_script("return document.documentElement.scrollWidth") <= 390
        colours = driver.execute_script(
            "const s = getComputedStyle(document.body), t = getComputedStyle(document.querySelector('svg text'));"
            "return [s.color, s.backgroundColor, t.fill]"
        )
        ink, paper, plot = (_lightness(colour) for colour in colours)
        assert (paper > 0.9) if scheme == "light" else (paper < 0.1)
        assert abs(ink - paper) > 0.7 and abs(plot - paper) > 0.7
    finally:
        driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


def _lightness(colour: str) -> float:
    """Of `rgb(r, g, b)`: 0 black to 1 white."""
    parts = [int(part) for part in colour.removeprefix("rgb(").removesuffix(")").split(",")]
    return sum(parts) / (3 * 255)
