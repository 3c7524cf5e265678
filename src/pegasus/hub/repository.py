"""A repository of the Hugging Face hub: what of it is fetched, and what its cache is good for offline."""

from __future__ import annotations

import fnmatch
import glob
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from pegasus.errors import CheckpointCorrupt, CheckpointNotFound
from pegasus.hub.bundled import bundled_in_words
from pegasus.hub.integrity import is_hexadecimal, recall_listing, remember_listing, storage_of, verify
from pegasus.hub.options import WEIGHT_FORMATS, HubOptions

_SMALL_FILES = ("*.json", "*.model", "*.spm", "*.txt", "*.jinja")
_OTHER_INDEXES = "*.index.json"
_YES = ("1", "ON", "YES", "TRUE")


def fetch(repo: str, options: HubOptions, patterns: Sequence[str] | None) -> Path:
    """The cached snapshot of a repository, completed from the network where that is allowed.

    Raises:
        CheckpointNotFound: no such repository or revision, not allowed, or not reachable and not cached.
        CheckpointCorrupt: a file has other bytes than the hub lists.
    """
    pinned = None if options.force_download else _pinned_snapshot(repo, options, patterns)
    if pinned is not None:
        return pinned
    reason = _why_offline(options)
    if reason:
        return _cached_only(repo, options, patterns, reason)
    try:
        return _download(repo, options, patterns)
    except (CheckpointCorrupt, CheckpointNotFound):
        raise
    except Exception as problem:  # the http library's own errors share no base across versions
        refusal = _refusal(repo, options, problem)
        if refusal is not None:
            raise refusal from problem
        return _cached_only(
            repo, options, patterns, f"the hub could not be reached ({in_one_line(problem)})"
        )


def _download(repo: str, options: HubOptions, patterns: Sequence[str] | None) -> Path:
    from huggingface_hub import HfApi, snapshot_download

    endpoint = os.environ.get("HF_ENDPOINT") or None
    info = HfApi(endpoint=endpoint, token=options.token).model_info(
        repo, revision=options.revision, files_metadata=True
    )
    listing = {
        file.rfilename: file.lfs.sha256 if file.lfs else file.blob_id or "" for file in info.siblings or ()
    }
    wanted = _choose(listing, options.subfolder, patterns)
    if patterns is None:
        _require_whole(repo, options, wanted, listing)
    remember_listing(_storage(repo, options), info.sha, listing)
    cached = None if options.force_download else _snapshot(repo, options)
    if cached is not None and cached.name == info.sha and all((cached / name).is_file() for name in wanted):
        verify(repo, cached, wanted, remove=True)
        return cached
    folder = snapshot_download(
        repo,
        revision=options.revision,
        token=options.token,
        cache_dir=options.cache_dir,
        force_download=options.force_download,
        allow_patterns=[glob.escape(name) for name in wanted],
        endpoint=endpoint,
    )
    verify(repo, Path(folder), [name for name in wanted if (Path(folder) / name).is_file()], remove=True)
    return Path(folder)


def _pinned_snapshot(repo: str, options: HubOptions, patterns: Sequence[str] | None) -> Path | None:
    """A commit never changes, so a whole snapshot of it needs no request at all."""
    revision = options.revision or ""
    if len(revision) != 40 or not is_hexadecimal(revision):
        return None
    folder = _snapshot(repo, options)
    listing = None if folder is None else recall_listing(storage_of(folder), revision)
    if folder is None or listing is None:
        return None
    wanted = _choose(listing, options.subfolder, patterns)
    if not all((folder / name).is_file() for name in wanted):
        return None
    if patterns is None:
        _require_whole(repo, options, wanted, listing)
    verify(repo, folder, wanted, remove=False)
    return folder


def _cached_only(repo: str, options: HubOptions, patterns: Sequence[str] | None, reason: str) -> Path:
    """What an earlier download left; incomplete is an error here, because nobody later knows why."""
    folder = _snapshot(repo, options)
    if folder is None:
        at = f" at revision {options.revision!r}" if options.revision else ""
        raise CheckpointNotFound(
            f"{repo!r}{at} is no folder here, not bundled ({bundled_in_words()}), and not in the cache of "
            "earlier "
            f"downloads, and {reason}: check the name, or run once with the network so that it is kept."
        )
    present = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
    listing = recall_listing(storage_of(folder), folder.name) or dict.fromkeys(present, "")
    wanted = _choose(listing, options.subfolder, patterns)
    if patterns is None:
        _require_whole(repo, options, wanted, present, reason)
    absent = [name for name in wanted if not (folder / name).is_file()]
    if absent:
        raise CheckpointNotFound(
            f"The cached copy of {repo!r} is incomplete: {', '.join(absent)} is missing from {folder}, and "
            f"{reason}: run once with the network to complete it."
        )
    verify(repo, folder, wanted, remove=False)
    return folder


def _storage(repo: str, options: HubOptions) -> Path:
    """huggingface_hub's folder for one repository."""
    from huggingface_hub import constants
    from huggingface_hub.file_download import repo_folder_name

    cache: Path = Path(options.cache_dir or constants.HF_HUB_CACHE).expanduser()
    return cache / str(repo_folder_name(repo_id=repo, repo_type="model"))


def _snapshot(repo: str, options: HubOptions) -> Path | None:
    """The snapshot folder of an earlier download, whole or not."""
    storage = _storage(repo, options)
    revision = options.revision or "main"
    reference = storage / "refs" / revision
    commit = reference.read_text(encoding="utf-8").strip() if reference.is_file() else revision
    folder = storage / "snapshots" / commit
    return folder if folder.is_dir() else None


def _choose(names: Iterable[str], subfolder: str, patterns: Sequence[str] | None) -> list[str]:
    """The files of a repository that are wanted, in the repository's spelling."""
    prefix = subfolder.strip("/") + "/" if subfolder.strip("/") else ""
    here = [name for name in names if name.startswith(prefix)]
    inner = {name[len(prefix) :]: name for name in here if "/" not in name[len(prefix) :]}
    if patterns is not None:
        return [full for short, full in inner.items() if _matches(short, patterns)]
    weights = next((form for form in WEIGHT_FORMATS if any(fnmatch.filter(inner, form[0]))), ())
    return [
        full
        for short, full in inner.items()
        if _matches(short, weights)
        or (_matches(short, _SMALL_FILES) and not fnmatch.fnmatchcase(short, _OTHER_INDEXES))
    ]


def _require_whole(
    repo: str, options: HubOptions, wanted: Sequence[str], names: Iterable[str], reason: str = ""
) -> None:
    """A model needs a configuration and weights; says which is not there, and what is instead."""
    short = [name.rsplit("/", 1)[-1] for name in wanted]
    missing = [] if "config.json" in short else ["config.json"]
    if not any(_matches(name, form) for name in short for form in WEIGHT_FORMATS):
        missing.append("weights (model.safetensors or pytorch_model.bin)")
    if not missing:
        return
    where = f"{repo!r}" + (f", folder {options.subfolder!r}," if options.subfolder else "")
    found = ", ".join(sorted(names)[:12]) or "nothing"
    if reason:
        raise CheckpointNotFound(
            f"The cached copy of {where} is incomplete: {' and '.join(missing)} is missing (found: "
            f"{found}), "
            f"and {reason}: run once with the network to complete it."
        )
    raise CheckpointNotFound(
        f"The repository {where} holds no {' and no '.join(missing)} (found: {found}): "
        "check the name, the revision and `subfolder`, or convert the weights first."
    )


def _why_offline(options: HubOptions) -> str:
    if options.local_files_only:
        return "local_files_only=True forbids the network"
    from huggingface_hub import constants

    # huggingface_hub reads the variable when it is imported; whoever sets it later means it too
    if constants.HF_HUB_OFFLINE or os.environ.get("HF_HUB_OFFLINE", "").upper() in _YES:
        return "HF_HUB_OFFLINE forbids the network"
    return ""


def _refusal(repo: str, options: HubOptions, problem: Exception) -> CheckpointNotFound | None:
    """The hub's answer in one sentence; None when there was no answer."""
    from huggingface_hub import errors

    token = "a token (HF_TOKEN, or `token=`)"
    if isinstance(problem, errors.GatedRepoError):
        return CheckpointNotFound(f"{repo!r} is gated: accept its terms on the hub, then give {token}.")
    if isinstance(problem, errors.RepositoryNotFoundError):
        return CheckpointNotFound(
            f"{repo!r} is no folder here, not bundled ({bundled_in_words()}), and the hub has no such "
            "repository "
            f"or a private one: check the name, or give {token}."
        )
    if isinstance(problem, errors.RevisionNotFoundError):
        return CheckpointNotFound(
            f"{repo!r} has no revision {options.revision!r}: give a branch, a tag or a commit of it."
        )
    if isinstance(problem, errors.LocalTokenNotFoundError):
        return CheckpointNotFound(
            f"token=True was given and no token is stored here: log in, or give {token}."
        )
    status = getattr(getattr(problem, "response", None), "status_code", 500)
    if status >= 500:
        return None
    advice = f"give {token} that is valid" if status in (401, 403) else "check the name and the revision"
    return CheckpointNotFound(f"The hub refused {repo!r} with status {status}: {advice}.")


def is_repository_name(name: str) -> bool:
    """Whether the hub could have a repository of that name."""
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    try:
        validate_repo_id(name)
    except HFValidationError:
        return False
    return True


def _matches(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def in_one_line(problem: Exception) -> str:
    """The first line of somebody else's error, with its kind."""
    return f"{type(problem).__name__}: {problem}".splitlines()[0][:120]
