import pytest

from recipes.shipping import shipped_folder


def test_a_folder_is_replaced_whole_but_for_what_others_write(tmp_path):
    out = tmp_path / "emoji"
    (out / "modules").mkdir(parents=True)
    (out / "modules/style.safetensors").write_text("style")
    (out / "old.txt").write_text("old")
    with shipped_folder(out, limit_mb=1, keep=["modules"]) as part:
        (part / "new.txt").write_text("new")
    found = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert found == {"emoji/new.txt", "emoji/modules/style.safetensors"}


def test_a_folder_too_large_replaces_nothing(tmp_path):
    out = tmp_path / "emoji"
    out.mkdir()
    (out / "old.txt").write_text("old")
    with pytest.raises(SystemExit, match="more than 0"), shipped_folder(out, limit_mb=0) as part:
        (part / "new.txt").write_text("new")
    assert [path.name for path in out.iterdir()] == ["old.txt"]


@pytest.mark.parametrize("replaced", [False, True])
def test_a_run_goes_on_after_one_that_was_killed_while_it_renamed(tmp_path, replaced):
    out, old = tmp_path / "emoji", tmp_path / "emoji.old"
    for place in (out, old) if replaced else (old,):
        (place / "modules").mkdir(parents=True)
        (place / "modules/style.safetensors").write_text(place.name)
    with shipped_folder(out, limit_mb=1, keep=["modules"]) as part:
        (part / "new.txt").write_text("new")
    assert {path.name for path in tmp_path.iterdir()} == {"emoji"}
    assert {path.name for path in out.iterdir()} == {"modules", "new.txt"}
    kept = (out / "modules/style.safetensors").read_text()
    assert kept == ("emoji" if replaced else "emoji.old")
