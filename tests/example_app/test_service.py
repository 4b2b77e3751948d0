"""The example application, with its consumers inside the process and without Redis."""

from __future__ import annotations

import io
from collections.abc import Generator
from email import message_from_bytes
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from PIL import Image

from tests.waiting import wait_until_blocking

FINISHED = {"succeeded", "dead", "cancelled"}


@pytest.fixture
def client(app: FastAPI) -> Generator[TestClient]:
    with TestClient(app) as client:
        yield client


def outcome(client: TestClient, accepted: dict[str, Any]) -> dict[str, Any]:
    """Return what the API says of a job once it has finished."""
    address = f"/jobs/{accepted['queue']}/{accepted['job_id']}"
    wait_until_blocking(lambda: client.get(address).json().get("state") in FINISHED)
    job: dict[str, Any] = client.get(address).json()
    return job


def sign_up(client: TestClient, name: str = "Ada") -> dict[str, Any]:
    answer = client.post("/signup", json={"name": name, "email": "ada@example.com"})
    assert answer.status_code == 202, answer.text
    accepted: dict[str, Any] = answer.json()
    return accepted


def mails(folder: Path) -> list[Any]:
    return [message_from_bytes(path.read_bytes()) for path in (folder / "outbox").glob("*.eml")]


def test_who_signs_up_is_sent_a_welcome_mail(client: TestClient, tmp_path: Path) -> None:
    accepted = sign_up(client)

    assert outcome(client, accepted)["state"] == "succeeded"
    (mail,) = mails(tmp_path)
    assert (mail["To"], mail["Subject"]) == ("ada@example.com", "Welcome, Ada!")
    user = client.get(f"/users/{accepted['user_id']}").json()
    assert Path(user["welcome_mail"]).is_file()


def test_signing_up_twice_sends_one_mail(client: TestClient, tmp_path: Path) -> None:
    first = sign_up(client)
    outcome(client, first)

    second = sign_up(client, name="Somebody else")

    assert second == first
    assert len(mails(tmp_path)) == 1


@pytest.mark.parametrize("name", ["", "a\nb: c", "x" * 101])
def test_a_name_that_cannot_stand_in_a_mail_is_refused(client: TestClient, name: str) -> None:
    answer = client.post("/signup", json={"name": name, "email": "ada@example.com"})

    assert answer.status_code == 422


def test_a_mailer_of_the_test_takes_the_place_of_the_real_one(
    app: FastAPI, client: TestClient
) -> None:
    from example_app.mailer import get_mailer

    class Recorder:
        def __init__(self) -> None:
            self.sent: list[EmailMessage] = []

        async def send(self, mail: EmailMessage) -> str:
            self.sent.append(mail)
            return "the test"

    recorder = Recorder()
    app.dependency_overrides[get_mailer] = lambda: recorder

    accepted = sign_up(client)

    outcome(client, accepted)
    assert [mail["To"] for mail in recorder.sent] == ["ada@example.com"]
    assert client.get(f"/users/{accepted['user_id']}").json()["welcome_mail"] == "the test"


def test_a_job_belongs_to_the_trace_of_the_request(
    client: TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="example_app")

    answer = client.post("/orders/7", headers={"X-Trace-Id": "from-the-browser"})

    assert answer.status_code == 202
    wait_until_blocking(
        lambda: "trace from-the-browser: CallWebhook begins attempt 1" in caplog.messages
    )


def test_a_picture_is_made_small(client: TestClient) -> None:
    picture = io.BytesIO()
    Image.new("RGB", (800, 400), "teal").save(picture, "PNG")

    accepted = client.post("/pictures", files={"file": ("a.png", picture.getvalue())}).json()

    assert outcome(client, accepted)["state"] == "succeeded"
    thumbnail = client.get(f"/thumbnails/{accepted['picture']}")
    with Image.open(io.BytesIO(thumbnail.content)) as small:
        assert (small.format, small.size) == ("JPEG", (240, 120))
    wait_until_blocking(lambda: client.get(f"/pictures/{accepted['picture']}").status_code == 200)
    assert client.get(f"/pictures/{accepted['picture']}").json() == [64, 240]


def test_what_is_no_picture_is_not_tried_again(client: TestClient) -> None:
    accepted = client.post("/pictures", files={"file": ("a.png", b"not a picture")}).json()

    job = outcome(client, accepted)

    assert (job["state"], job["attempts"]) == ("dead", 1)
    assert "the file is not a picture" in job["error"]
    assert client.get(f"/thumbnails/{accepted['picture']}").status_code == 404


def test_a_picture_that_is_too_large_is_refused(client: TestClient) -> None:
    answer = client.post("/pictures", files={"file": ("a.png", b"x" * 5_000_001)})

    assert answer.status_code == 413


@pytest.mark.slow
def test_a_partner_who_answers_late_is_called_again(client: TestClient) -> None:
    accepted = client.post("/orders/7").json()

    job = outcome(client, accepted)

    assert (job["state"], job["attempts"]) == ("succeeded", 3)


@pytest.mark.parametrize(
    "address",
    ["/jobs/webhooks/nothing", "/jobs/others/nothing", "/users/9", "/notes/9", "/pictures/none"],
)
def test_what_is_unknown_is_not_found(client: TestClient, address: str) -> None:
    assert client.get(address).status_code == 404


def test_a_folder_above_is_out_of_reach(client: TestClient) -> None:
    assert client.get("/thumbnails/..%2Fexample.db").status_code in {404, 422}


def test_the_page_needs_nothing_from_elsewhere_and_never_shows_text_as_html(
    client: TestClient,
) -> None:
    page = client.get("/")

    assert page.headers["content-type"].startswith("text/html")
    for form in ("signup", "picture", "order", "report"):
        assert f'id="{form}"' in page.text
    assert "://" not in page.text
    assert not any(word in page.text for word in ("innerHTML", "outerHTML", "document.write"))
