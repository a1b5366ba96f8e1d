"""The routes of blind votes: a pair without names, a vote on it, and the table."""

import base64
import logging
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response
from pydantic import Field

from flows.registry.votes import Answer, Vote, add_vote, read_votes, reference_of, table_of
from flows.serving.blind import Blind
from flows.serving.bodies import Body
from flows.serving.context import Serving
from flows.serving.drawing import Plan
from flows.serving.errors import ApiError
from flows.serving.jobs import Answer as Drawn
from flows.serving.jobs import Job
from flows.serving.pictures import encoded
from flows.serving.waiting import answer_of

log = logging.getLogger("genai.serve")

NO_STORE = {"Cache-Control": "no-store"}


class VoteBody(Body):
    """POST /v1/votes."""

    pair: Annotated[str, Field(pattern=r"^[0-9a-f]{32}$", description="the id of a pair")]
    answer: Answer = Field(description="which picture is better; tie: neither; skip: no opinion, not counted")
    who: Annotated[str, Field(max_length=80)] = Field("", description="a name; ignored with a token: its name is used")


def vote_routes(serving: Serving, workspace: Path) -> APIRouter:
    """Return the routes. Votes are kept in the workspace."""
    routes = APIRouter()

    def blind() -> Blind:
        if serving.blind is None:
            message = "this server takes no votes; start one with: genai serve --blind prod candidate"
            raise ApiError(404, message, code="not_blind")
        return serving.blind

    async def drawn(request: Request, plans: tuple[Plan, Plan]) -> list[Drawn]:
        """Draw both pictures; if one cannot be drawn, or the client goes, neither is waited for."""
        jobs: list[Job] = []
        try:
            for plan in plans:
                jobs.append(plan.job())
                serving.queue.put(jobs[-1])
            return [await answer_of(request, job) for job in jobs]
        finally:
            for job in jobs:
                job.answer.cancel()  # no effect on one that is done

    @routes.get("/v1/votes/pair", tags=["votes"])
    async def pair(request: Request) -> JSONResponse:
        """Return two pictures of two models, of the same class and seed. Sides are random, and names are hidden."""
        found = blind()
        new = found.new_pair([serving.models.find(name) for name in found.names])
        left, right = [await serving.in_thread(_picture, answer) for answer in await drawn(request, new.plans())]
        found.keep(new)
        return JSONResponse({"pair": new.id, "class": new.class_name, "left": left, "right": right}, headers=NO_STORE)

    @routes.post("/v1/votes", tags=["votes"])
    async def vote(request: Request, body: VoteBody) -> dict[str, str]:
        """Vote on a pair. It is on the disk when this answers. A pair takes one vote."""
        found = blind()
        known = found.take(body.pair)
        if known is None:
            message = "this pair was answered already, or is too old; ask for the next one"
            raise ApiError(409, message, param="pair", code="pair_closed")
        shown, left, right = known
        who = request.scope.get("genai.client") or " ".join(body.who.split()) or "anonymous"
        at = datetime.now(UTC).isoformat(timespec="seconds")
        record = Vote(shown.id, at, who, body.answer, shown.class_name, shown.seed, left, right)
        try:
            await serving.in_thread(add_vote, workspace, record)
        except OSError as error:
            found.put_back(known)
            log.error("a vote could not be kept: %s", error)
            message = "the vote could not be written; see the server's log, and vote again"
            raise ApiError(503, message, code="not_kept", retry_after_s=5) from None
        return {"vote": record.id}

    @routes.get("/v1/votes", tags=["votes"])
    async def votes() -> Response:
        """Return the table: models with their preference and its interval, pairs, and who voted."""
        return JSONResponse(await serving.in_thread(_table, workspace), headers=NO_STORE)

    return routes


def _picture(answer: Drawn) -> dict[str, str]:
    """Return a picture without provenance, which would tell the model."""
    content = encoded(answer.blobs[0], answer.values["shape"][1:], "png", 1, None)
    return {"b64": base64.b64encode(content).decode(), "mime": "image/png"}


def _table(workspace: Path) -> dict[str, Any]:
    votes = read_votes(workspace)
    return table_of(votes, reference_of(workspace, votes))
