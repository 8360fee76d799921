"""The endpoint that the bridge is compared with: it only reads the body and answers the same JSON."""

import sys

import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)


@app.get("/health")
async def health() -> dict[str, str]:
    """Answer that the process is alive."""
    return {"status": "healthy"}


@app.post("/webhook", status_code=202)
async def webhook(request: Request) -> JSONResponse:
    """Answer as the bridge does, without any check."""
    await request.body()
    return JSONResponse({"status": "submitted", "delivery_id": request.headers["x-mlflow-delivery-id"]}, 202)


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_config=None, access_log=False, server_header=False)
