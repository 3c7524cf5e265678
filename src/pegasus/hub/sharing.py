"""Uploading a folder to the hub."""

from __future__ import annotations

import os
from pathlib import Path

from pegasus.errors import CheckpointNotFound
from pegasus.hub.repository import in_one_line


def push(
    folder: str | os.PathLike[str],
    repo_id: str,
    *,
    token: str | bool | None = None,
    private: bool | None = None,
    commit_message: str | None = None,
    commit_description: str | None = None,
    revision: str | None = None,
    create_pr: bool = False,
) -> str:
    """Uploads the files of a folder as one commit of a hub repository, made when it is not there.

    Returns:
        The address of the commit.

    Raises:
        CheckpointNotFound: the folder does not exist, or the hub refused.
    """
    from huggingface_hub import HfApi

    if not Path(folder).is_dir():
        raise CheckpointNotFound(
            f"There is no folder {str(folder)!r} to upload: save the model there first."
        )
    api = HfApi(endpoint=os.environ.get("HF_ENDPOINT") or None, token=token)
    try:
        repo_id = api.create_repo(repo_id, private=private, exist_ok=True).repo_id
        commit = api.upload_folder(
            repo_id=repo_id,
            folder_path=str(folder),
            commit_message=commit_message or "Upload of a PEGASUS checkpoint",
            commit_description=commit_description,
            revision=revision,
            create_pr=create_pr,
            ignore_patterns=[".*", "**/.*"],
        )
    except Exception as problem:
        raise CheckpointNotFound(
            f"The upload to {repo_id!r} failed ({in_one_line(problem)}): check the name, the token "
            "(HF_TOKEN or `token=`) and the network, then push again."
        ) from problem
    return str(commit.commit_url)
