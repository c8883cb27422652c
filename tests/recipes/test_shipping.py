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
