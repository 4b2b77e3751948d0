"""The API.

While developing, ``RUN_POOL=1 uvicorn example_app.main:app`` runs the consumers too. In production
they are processes of their own: ``redispatcher pool example_app.main:app``.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Annotated
from uuid import uuid4

from anyio import Path as AsyncPath
from fastapi import Depends, FastAPI, HTTPException, Request, UploadFile
from fastapi.responses import FileResponse, HTMLResponse, JSONResponse
from pydantic import BaseModel, EmailStr, Field
from sqlalchemy.ext.asyncio import AsyncSession

from example_app.consumers import make_config
from example_app.database import (
    Note,
    Picture,
    User,
    add_order,
    create_tables,
    find_or_add_user,
    get_session,
    write_note,
)
from example_app.mails import ReportSignUps, SendWelcomeMail
from example_app.notes import QUIET, IndexNote
from example_app.partners import CallWebhook
from example_app.pictures import SIZES, MakeThumbnail, NotePicture
from example_app.settings import Settings, get_settings
from example_app.tracing import trace
from redispatcher_fastapi import Job, JobState, Priority, Publisher, PublishError, Redispatcher

MAX_PICTURE_BYTES = 5_000_000
PAGE = Path(__file__).with_name("page.html")

dispatcher = Redispatcher(make_config(), run_pool=get_settings().run_pool)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncGenerator[None]:
    """Prepare what endpoints and consumers need; a pool of its own process enters this, too."""
    await create_tables()
    yield


app = FastAPI(title="Example", lifespan=lifespan, dependencies=[Depends(trace)])
app.include_router(dispatcher.router)


class SignUp(BaseModel):
    email: EmailStr
    # No control characters: it becomes part of a mail's subject.
    name: str = Field(min_length=1, max_length=100, pattern=r"^[^\x00-\x1f\x7f\u2028\u2029]+$")


class Accepted(BaseModel):
    """Where to look for the job."""

    queue: str
    job_id: str

    @classmethod
    def of(cls, job: Job[object]) -> Accepted:
        return cls(queue=job.queue, job_id=job.id)


class SignedUp(Accepted):
    user_id: int


class PictureAccepted(Accepted):
    picture: str


class JobStatus(BaseModel):
    """What a person may know about a job: neither its message nor a traceback."""

    state: JobState
    attempts: int
    error: str | None
    published_at: datetime | None
    started_at: datetime | None
    finished_at: datetime | None


class NoteText(BaseModel):
    text: str = Field(max_length=10_000)


class NoteStatus(NoteText):
    words: str | None


class UserStatus(BaseModel):
    email: str
    name: str
    welcome_mail: str | None


@app.exception_handler(PublishError)
async def answer_unpublished(request: Request, error: PublishError) -> JSONResponse:
    """Redis is away or full: the caller may come back."""
    return JSONResponse({"detail": "try again later"}, 503, headers={"Retry-After": "5"})


@app.get("/", response_class=HTMLResponse, include_in_schema=False)
async def show_page() -> HTMLResponse:
    return HTMLResponse(await AsyncPath(PAGE).read_text(encoding="utf-8"))


@app.post("/signup", status_code=202)
async def sign_up(
    form: SignUp,
    session: Annotated[AsyncSession, Depends(get_session)],
    publisher: Annotated[Publisher[SendWelcomeMail], Depends()],
) -> SignedUp:
    user = await find_or_add_user(session, email=form.email, name=form.name)
    # Published once the user is there, and not at all if the transaction fails. A process that dies
    # right after the commit loses the mail; the user signs up again then, which publishes again,
    # and an id of our own makes one job of both.
    welcome = SendWelcomeMail.Message(user_id=user.id)
    job = publisher.after_commit(session).publish(welcome, id=f"welcome-{user.id}")
    await session.commit()
    return SignedUp(queue=job.queue, job_id=job.id, user_id=user.id)


@app.get("/users/{user_id}")
async def show_user(
    user_id: int, session: Annotated[AsyncSession, Depends(get_session)]
) -> UserStatus:
    user = await session.get(User, user_id)
    if user is None:
        raise HTTPException(404, "there is no such user")
    return UserStatus(email=user.email, name=user.name, welcome_mail=user.welcome_mail)


@app.post("/pictures", status_code=202)
async def upload_picture(
    file: UploadFile,
    settings: Annotated[Settings, Depends(get_settings)],
    publisher: Annotated[Publisher[MakeThumbnail], Depends()],
) -> PictureAccepted:
    content = await file.read(MAX_PICTURE_BYTES + 1)
    if len(content) > MAX_PICTURE_BYTES:
        raise HTTPException(413, f"a picture has at most {MAX_PICTURE_BYTES} bytes")
    picture = uuid4().hex  # never the name that the browser sent
    await AsyncPath(settings.folder("pictures") / picture).write_bytes(content)
    # Side by side, and NotePicture once all of them have ended, however they did.
    messages = [MakeThumbnail.Message(picture=picture, size=size) for size in SIZES]
    flow = await publisher.publish_group(messages, then=NotePicture)
    job = flow.jobs[0]
    return PictureAccepted(queue=job.queue, job_id=job.id, picture=picture)


@app.get("/pictures/{picture}")
async def show_picture(
    picture: str, session: Annotated[AsyncSession, Depends(get_session)]
) -> list[int]:
    """Return the sizes of which there are thumbnails."""
    noted = await session.get(Picture, picture)
    if noted is None:
        raise HTTPException(404, "there is no such picture yet")
    return [int(size) for size in noted.sizes.split(",")]


@app.get("/thumbnails/{picture}")
async def show_thumbnail(
    picture: Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")],
    settings: Annotated[Settings, Depends(get_settings)],
    size: int = SIZES[0],
) -> FileResponse:
    path = settings.folder("thumbnails") / f"{picture}-{size}.jpg"
    if not await AsyncPath(path).exists():
        raise HTTPException(404, "there is no such thumbnail yet")
    return FileResponse(path)


@app.post("/orders/{order}", status_code=202)
async def announce_order(
    order: int,
    session: Annotated[AsyncSession, Depends(get_session)],
    publisher: Annotated[Publisher[CallWebhook], Depends()],
    partner: Annotated[str, Field(pattern=r"^[a-z]{1,20}$")] = "acme",
    *,
    express: bool = False,
) -> Accepted:
    await add_order(session, order, partner=partner)
    # A row of the same transaction: an order that is stored is announced, whatever dies meanwhile.
    job = publisher.in_transaction(session).publish(
        CallWebhook.Message(order=order, partner=partner),
        id=f"order-{order}",
        priority=Priority.HIGH if express else Priority.NORMAL,
    )
    await session.commit()
    return Accepted.of(job)


@app.put("/notes/{note}", status_code=202)
async def change_note(
    note: int,
    form: NoteText,
    session: Annotated[AsyncSession, Depends(get_session)],
    publisher: Annotated[Publisher[IndexNote], Depends()],
) -> None:
    await write_note(session, note, text=form.text)
    publisher.after_commit(session).publish(IndexNote.Message(note_id=note), delay=QUIET)
    await session.commit()


@app.get("/notes/{note}")
async def show_note(
    note: int, session: Annotated[AsyncSession, Depends(get_session)]
) -> NoteStatus:
    found = await session.get(Note, note)
    if found is None:
        raise HTTPException(404, "there is no such note")
    return NoteStatus.model_validate(found, from_attributes=True)


@app.post("/reports", status_code=202)
async def report_now() -> Accepted:
    """Have the daily report made at once, and at its time all the same."""
    return Accepted.of(await dispatcher.schedules.run_now("daily", ReportSignUps))


@app.get("/jobs/{queue}/{job_id}")
async def show_job(queue: str, job_id: str) -> JobStatus:
    record = await dispatcher.inspector.job(known(queue), job_id)
    if record is None:
        raise HTTPException(404, "there is no such job, or not yet, or it ended long ago")
    return JobStatus.model_validate(record, from_attributes=True)


@app.delete("/jobs/{queue}/{job_id}", status_code=202)
async def cancel_job(queue: str, job_id: str) -> None:
    if not await dispatcher.inspector.cancel(known(queue), job_id):
        raise HTTPException(409, "there is no such job, or it has ended")


def known(queue: str) -> str:
    """Return the queue, if it is one of ours."""
    if queue not in {each.consumer_class.QUEUE for each in dispatcher.config.consumers}:
        raise HTTPException(404, "there is no such queue")
    return queue
