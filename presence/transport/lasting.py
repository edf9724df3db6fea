"""A connection for an agent that outlives it: made when the agent wants one, and again after a loss."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Generic, Protocol, TypeVar

from presence.sip.build import SentBy
from presence.transport.client import Agent, Driver, Flow, Unreachable, connect

Event = TypeVar("Event")

CONNECT_TIMEOUT_S = 5.0


class LastingAgent(Agent[Event], Protocol[Event]):
    """A user agent that says when it wants a flow (`Follower`)."""

    def wants_flow(self, now: float) -> bool:
        """Whether it is time to connect."""

    def opened(self, local: SentBy, now: float) -> None:
        """Learn that there is a flow."""

    def closed(self, now: float) -> None:
        """Learn that there is none any more, or that none could be had."""


class Lasting(Generic[Event]):
    """Connects an agent to one address, in the background. All methods belong to the loop's thread."""

    def __init__(
        self,
        agent: LastingAgent[Event],
        transport: str,
        host: str,
        port: int,
        now: Callable[[], float],
        heard: Callable[[Event], bool],
        lost: Callable[[str], None],
    ) -> None:
        """`heard` gets what happens and returns whether the flow is worth keeping, `lost` why there is none."""
        self._agent, self._address = agent, (transport, host, port)
        self._now, self._heard, self._lost = now, heard, lost
        self._task: asyncio.Task[None] | None = None
        self._driver: Driver[Event] | None = None

    def tick(self, now: float) -> None:
        """Connect if that is wanted."""
        if self._task is None and self._agent.wants_flow(now):
            self._task = asyncio.get_running_loop().create_task(self._run())

    def settle(self) -> None:
        """Carry out what the agent decided; to be called after each call of one of its methods."""
        if self._driver is not None:
            self._driver.settle()

    async def close(self) -> None:
        """Send what is to be sent, and connect no more."""
        self.settle()
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    async def _run(self) -> None:
        try:
            async with connect(*self._address, timeout_s=CONNECT_TIMEOUT_S) as flow:
                await self._live(flow)
        except Unreachable as error:
            self._lost(str(error))
        finally:
            self._agent.closed(self._now())
            self._task = None

    async def _live(self, flow: Flow) -> None:
        self._driver = Driver(flow, self._agent, self._now)
        try:
            self._agent.opened(flow.local, self._now())
            self._driver.settle()
            while self._heard(await self._driver.next_event()):
                pass
            raise Unreachable("no answer")
        finally:
            self._driver.stop()
            self._driver = None
