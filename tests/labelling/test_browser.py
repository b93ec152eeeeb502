"""The page in a browser: labelled with keys alone, by finger, reloaded, downloaded and merged.

It runs where Chromium, its driver and the package selenium are found.
"""

import csv
import dataclasses
import shutil
import time

import pytest

from dermjax.cli import manifest as command
from dermjax.labelling import page
from tests.labelling.made_up import CLASSES, candidate

webdriver = pytest.importorskip("selenium.webdriver", reason="needs the package selenium")
BROWSER = shutil.which("chromium") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (BROWSER and DRIVER), reason="needs Chromium and its chromedriver"),
]

COUNT = 20
LEFT, RIGHT, ENTER = "\ue012", "\ue014", "\ue007"


class Browser:
    """A page in Chromium, seen as its reader sees it."""

    def __init__(self, folder, html, size=(1000, 800)):
        options = webdriver.ChromeOptions()
        options.binary_location = BROWSER
        for argument in ("--headless=new", "--no-sandbox", "--disable-gpu"):
            options.add_argument(argument)
        options.add_experimental_option("prefs", {"download.default_directory": str(folder)})
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        service = webdriver.ChromeService(DRIVER)
        self.driver = webdriver.Chrome(options=options, service=service)
        self.folder = folder
        metrics = {"width": size[0], "height": size[1], "deviceScaleFactor": 1, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        (folder / "label.html").write_text(html, encoding="utf-8")
        self.driver.get((folder / "label.html").as_uri())

    def press(self, *keys):
        for key in keys:
            webdriver.ActionChains(self.driver).send_keys(key).perform()

    def element(self, name):
        return self.driver.find_element("id", name)

    def text(self, name):
        return self.element(name).text

    def run(self, script, *arguments):
        return self.driver.execute_script(script, *arguments)

    def reload(self):
        """Reloads; True if the reader is asked whether to leave, which the driver answers."""
        asked = self.run("""
          const leaving = new Event("beforeunload", { cancelable: true });
          dispatchEvent(leaving);
          return leaving.defaultPrevented;
        """)
        self.driver.refresh()
        return asked

    def downloaded(self):
        """The rows of labels.csv once it is there, and its path."""
        path = self.folder / "labels.csv"
        for _ in range(50):
            if path.exists() and path.stat().st_size:
                break
            time.sleep(0.1)
        with path.open(encoding="utf-8-sig", newline="") as file:
            return path, list(csv.DictReader(file))

    def errors(self):
        return [entry for entry in self.driver.get_log("browser") if entry["level"] != "INFO"]


@pytest.fixture
def browser(tmp_path):
    opened = []

    def open_page(html, **size):
        opened.append(Browser(tmp_path, html, **size))
        return opened[-1]

    yield open_page
    for one in opened:
        errors = one.errors()
        one.driver.quit()
        assert not errors, errors


def twenty(classes=CLASSES, **fields):
    return page.render("To label", (), classes, [candidate(n, **fields) for n in range(COUNT)])


def table(folder, label=lambda number: "", boxed=False):
    """A table of the twenty, and one more of each class; photos.csv."""
    lines = ["image,label,patient,x,y,w,h"]
    for n in range(COUNT):
        lines.append(f"images/{n}.jpg,{label(n)},p{n},{'16,12.5,40,30' if boxed else ',,,'}")
    lines += [f"images/old{n}.jpg,{name},q{n},,,," for n, name in enumerate(CLASSES)]
    (folder / "photos.csv").write_text("\n".join(lines) + "\n")
    return folder / "photos.csv"


def merged(photos, labels):
    out = photos.parent / "photos2.csv"
    status = command.main([str(photos), f"--labels={labels}", f"--out={out}"])
    with out.open(encoding="utf-8", newline="") as file:
        return status, {row["image"]: row for row in csv.DictReader(file)}


def test_twenty_are_labelled_by_keys_alone_and_merged(browser, tmp_path):
    one = browser(twenty(boxed=True))
    assert one.text("where") == "Photograph 1 of 20"
    one.press("1", "2", "3", "c", "x", "s")
    assert one.text("said") == "Photograph 6: skipped."
    assert one.text("where") == "Photograph 7 of 20"
    assert "5 of 20 answered (3 labelled, 1 cannot tell, 1 not a lesion, 1 skipped)" in one.text(
        "progress"
    )
    one.press("1", "u", "2")  # a slip
    assert one.text("said") == f"Photograph 7: {CLASSES[1]}."
    one.press(LEFT)
    assert one.text("where") == "Photograph 7 of 20" and one.text("now") == CLASSES[1]
    assert one.reload(), "leaving with labels that are not downloaded is asked about"
    assert one.text("where") == "Photograph 7 of 20" and one.text("now") == CLASSES[1]
    assert "6 of 20 answered" in one.text("progress")
    one.press("u")  # what was done before the reload, too
    assert one.text("now") == "no answer yet"
    one.press("2", *"1231231231231")
    assert "All 20 seen; skipped, and so not in labels.csv: 1." in one.text("summary")
    one.press("3", "c")  # keys that come too late overwrite nothing
    assert "All have been seen" in one.text("said") and one.text("now") == CLASSES[0]
    one.press("d")
    path, rows = one.downloaded()
    assert not one.reload(), "all is downloaded"
    assert list(rows[0]) == "image x y w h label verdict labelled_by labelled_at".split()
    assert len(rows) == 19 and "images/5.jpg" not in [row["image"] for row in rows]
    assert [row["verdict"] for row in rows if not row["label"]] == ["cannot tell", "not a lesion"]
    status, found = merged(table(tmp_path, boxed=True), path)
    assert status == 0
    labels = [found[f"images/{n}.jpg"]["label"] for n in range(COUNT)]
    names = [CLASSES[int(d) - 1] for d in "1231231231231"]
    assert labels == [*CLASSES, "", "", "", CLASSES[1], *names]
    assert found["images/4.jpg"]["exclude"] == "all"
    assert found["images/3.jpg"]["verdict"] == "cannot tell"
    assert found["images/0.jpg"]["labelled_at"] == rows[0]["labelled_at"] != ""


def test_a_name_goes_with_the_labels_that_follow(browser):
    one = browser(twenty())
    one.press("1")
    one.element("by").send_keys("Dr Ö. Sample; cs1")  # letters and digits are no answers there
    assert one.text("where") == "Photograph 2 of 20"
    one.run("document.activeElement.blur()")
    one.press("2", "d")
    _, rows = one.downloaded()
    assert [row["labelled_by"] for row in rows] == ["", "Dr Ö. Sample; cs1"]


def test_a_class_of_many_is_found_by_its_letters(browser):
    classes = (*(f"dermatosis {n}" for n in range(111)), "黑色素瘤", "سرطان الجلد", "=Ärger")
    one = browser(twenty(classes))
    one.press("0")
    one.press("/", *"ÄRG")
    assert "1 found; Enter takes =Ärger" in one.text("found")
    one.press(ENTER)
    assert one.text("said") == "Photograph 2: =Ärger."
    one.press("/", "黑", ENTER, "/", "سر", ENTER, "/", *"zzz")
    assert one.text("found") == "No class has these letters."
    one.press(ENTER, "\ue00c", "s", "d")
    _, rows = one.downloaded()
    labels = [row["label"] for row in rows]
    assert labels == ["dermatosis 9", "'=Ärger", "黑色素瘤", "سرطان الجلد"]


def test_what_was_skipped_is_gone_through_in_the_end(browser):
    one = browser(twenty())
    one.press("s", "1", "s", *"1" * 17)
    assert "labels.csv: 2." in one.text("summary")
    one.press("k")
    assert one.text("where") == "Photograph 1 of 20"
    one.press("2")
    assert one.text("where") == "Photograph 3 of 20"
    one.press("c", "c")
    assert one.text("summary") == "All 20 answered."
    assert "20 of 20 answered (19 labelled, 1 cannot tell)" in one.text("progress")


def test_similar_photographs_and_the_reason_show_on_request_for_one_photograph(browser):
    one = browser(twenty())
    assert not one.element("beside").is_displayed() and not one.element("because").is_displayed()
    one.press("n", "w")
    assert "can sway a judgement" in one.text("beside") and CLASSES[1] in one.text("beside")
    assert "No labelled photograph is like it." in one.text("because")
    one.press(RIGHT)
    assert not one.element("beside").is_displayed() and not one.element("because").is_displayed()


def scale(one):
    return float(one.run("return new DOMMatrix(document.getElementById('view').style.transform).a"))


def test_the_box_lies_on_its_place_at_every_zoom(browser):
    one = browser(twenty(boxed=True))
    fitted = scale(one)
    for keys in ([], "+", "+", "b"):
        one.press(*keys)
        photo, frame = one.run("""
          const [photo, frame] = [document.getElementById('photograph'),
            document.querySelector('#frame rect')].map((one) => one.getBoundingClientRect());
          return [[photo.x, photo.y, photo.width, photo.height],
            [frame.x, frame.y, frame.width, frame.height]];
        """)
        each = photo[2] / 80  # a pixel of the photograph on the screen
        expected = [photo[0] + 16 * each, photo[1] + 12.5 * each, 40 * each, 30 * each]
        assert frame == pytest.approx(expected, abs=3)
    assert scale(one) > fitted
    one.press("f")
    assert scale(one) == pytest.approx(fitted)


def tap(one, element):
    one.run("arguments[0].scrollIntoView({block: 'nearest'})", element)
    frame = one.run(
        "const r = arguments[0].getBoundingClientRect();"
        "return [r.x + r.width / 2, r.y + r.height / 2]",
        element,
    )
    touch(one, [frame])


def touch(one, *path):
    """Fingers that go down, move through lists of places, and leave."""
    kinds = ["touchStart"] + ["touchMove"] * (len(path) - 1)
    for kind, places in zip(kinds, path, strict=True):
        points = [{"x": x, "y": y, "id": n} for n, (x, y) in enumerate(places)]
        one.driver.execute_cdp_cmd(
            "Input.dispatchTouchEvent", {"type": kind, "touchPoints": points}
        )
    one.driver.execute_cdp_cmd("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    time.sleep(0.15)


def test_by_finger_on_a_small_screen(browser):
    one = browser(twenty(), size=(500, 900))
    one.driver.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": True})
    assert one.run("return document.documentElement.scrollWidth") <= 500
    small = one.run("""
      return [...document.querySelectorAll('button, summary, input')]
        .map((one) => [one.textContent, one.getBoundingClientRect()])
        .filter(([, size]) => size.width && (size.width < 44 || size.height < 44))
        .map(([text]) => text);
    """)
    assert small == []
    buttons = one.driver.find_elements("css selector", "#classes button")
    tap(one, buttons[2])
    assert one.text("said") == f"Photograph 1: {CLASSES[2]}."
    tap(one, one.element("undo"))
    assert one.text("where") == "Photograph 1 of 20" and one.text("now") == "no answer yet"
    fitted = scale(one)
    one.run("scrollTo(0, 0)")
    touch(one, [(200, 200), (240, 240)], [(170, 170), (270, 270)], [(120, 120), (320, 320)])
    assert scale(one) > 2 * fitted
    before = one.element("view").get_attribute("style")
    touch(one, [(250, 250)], [(230, 240)], [(200, 220)])
    assert one.element("view").get_attribute("style") != before
    tap(one, buttons[0])
    tap(one, one.driver.find_elements("css selector", "#strip button")[4])
    assert one.text("where") == "Photograph 5 of 20"
    tap(one, one.element("download"))
    _, rows = one.downloaded()
    assert [(row["image"], row["label"]) for row in rows] == [("images/0.jpg", CLASSES[0])]


def test_another_browser_goes_on_from_the_table(browser):
    one = browser(twenty())
    one.press("1", "c", "d")
    path, _ = one.downloaded()
    one.press("3")
    one.run("localStorage.clear()")
    one.reload()
    assert "0 of 20" in one.text("progress")
    one.press("3")
    one.run("document.getElementById('earlier').closest('details').open = true")
    one.element("earlier").send_keys(str(path))
    time.sleep(0.3)
    assert "taken from labels.csv: 1; not taken, as there is an answer here: 1." in one.text("said")
    assert "2 of 20 answered (1 labelled, 1 cannot tell)" in one.text("progress")


def test_two_pages_do_not_mix_and_a_browser_without_a_store_is_told(browser, tmp_path):
    one = browser(twenty())
    one.press("1")
    other = [dataclasses.replace(candidate(n), pixels=candidate(n + 50).pixels) for n in range(3)]
    path = tmp_path / "other.html"
    path.write_text(page.render("Other", (), CLASSES, other), encoding="utf-8")
    one.run("document.getElementById('download').click()")
    one.driver.get(path.as_uri())
    assert "0 of 3 answered" in one.text("progress")
    assert not one.element("storeless").is_displayed()
    blocked = "Object.defineProperty(window, 'localStorage', {get() { throw new Error('no'); }})"
    one.driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": blocked})
    one.driver.get(path.as_uri())
    assert "closing or reloading the page loses the labels" in one.text("storeless")
    one.press("1", "2", "u")
    assert "1 of 3 answered" in one.text("progress")
