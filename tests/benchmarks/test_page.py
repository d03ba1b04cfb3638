from benchmarks import page

FOUND = {"ratio": 2.5, "first": {"name": "a", "value": 1280.4}, "second": {"name": "b", "value": 0.51234}, "unit": "s"}
COUNTED, TIMED = {**FOUND, "spread": None}, {**FOUND, "spread": [2.4, 2.6]}


def test_numbers():
    assert page.numbers(COUNTED) == "**2.500** | 1280 / 0.5123 s"
    assert page.numbers(TIMED) == "**2.50** | 1280 / 0.5123 s, rounds 2.40 to 2.60"


def test_only_rows_of_known_keys_change():
    text = "words\n| a | **9.9** | 1 / 2 s | `known` |\n| b | **9.9** | 1 / 2 s | `unknown` |\n| c | **9.9** | x |\n"
    changed = page.with_numbers(text, {"known": COUNTED})
    assert changed == text.replace("| **9.9** | 1 / 2 s | `known`", "| **2.500** | 1280 / 0.5123 s | `known`")


def test_plots_of_what_was_measured():
    assert page.pictures({}) == {}
    found = page.pictures({"length_480p_17": COUNTED, "length_480p_81": COUNTED, "decode_memory_17": COUNTED})
    assert set(found) == {"length.svg", "decode.svg"}
    assert found["length.svg"].count("<circle") == 2
    assert found["decode.svg"].count("<circle") == 2  # the two ways
