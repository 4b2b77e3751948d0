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

from example_app.consumers import CallWebhook, MakeThumbnail, SendWelcomeMail, make_config
from example_app.database import User, create_tables, find_or_add_user, get_session
from example_app.settings import Settings, get_settings
from example_app.tracing import trace
from redispatcher_fastapi import Job, JobState, Publisher, PublishError, Redispatcher

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
    # First the database, then Redis. The other way round, the job could run before the user is
    # there, or write to somebody whose transaction failed. What remains is a process that dies
    # in between: the user signs up again then, which is why that publishes again, and why the
    # job has an id of our own, so that publishing twice makes one job.
    await session.commit()
    job = await publisher.publish(SendWelcomeMail.Message(user_id=user.id), id=f"welcome-{user.id}")
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
    job = await publisher.publish(MakeThumbnail.Message(picture=picture))
    return PictureAccepted(queue=job.queue, job_id=job.id, picture=picture)


@app.get("/thumbnails/{picture}")
async def show_thumbnail(
    picture: Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")],
    settings: Annotated[Settings, Depends(get_settings)],
) -> FileResponse:
    path = settings.folder("thumbnails") / f"{picture}.jpg"
    if not await AsyncPath(path).exists():
        raise HTTPException(404, "there is no such thumbnail yet")
    return FileResponse(path)


@app.post("/orders/{order}", status_code=202)
async def announce_order(
    order: int, publisher: Annotated[Publisher[CallWebhook], Depends()]
) -> Accepted:
    return Accepted.of(await publisher.publish(CallWebhook.Message(order=order)))


@app.get("/jobs/{queue}/{job_id}")
async def show_job(queue: str, job_id: str) -> JobStatus:
    known = {SendWelcomeMail.QUEUE, MakeThumbnail.QUEUE, CallWebhook.QUEUE}
    record = await dispatcher.inspector.job(queue, job_id) if queue in known else None
    if record is None:
        raise HTTPException(404, "there is no such job, or it ended long ago")
    return JobStatus.model_validate(record, from_attributes=True)
