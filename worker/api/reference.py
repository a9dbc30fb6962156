from fastapi import Request, Response


async def page(request: Request) -> Response:
    return Response(b"")
