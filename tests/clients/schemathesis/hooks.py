"""Says what the document cannot: which of the values that it allows mean something.

Schemathesis expects every value that fits the schema to be accepted. Three fields want more than their schema can say, and are
given such values here, so that no check has to be switched off for their routes. Requests that break the schema stay as they are.
"""

import schemathesis
from schemathesis import GenerationMode

# A PNG of one pixel.
IMAGE = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="
)


@schemathesis.hook
def before_call(context, case, kwargs):
    """Asks for the first page, sends real images and lets keys expire in the future."""
    if case.meta is None or case.meta.generation.mode != GenerationMode.POSITIVE:
        return
    if case.query and "page_token" in case.query:
        case.query["page_token"] = ""
    if isinstance(case.body, dict):
        if "images" in case.body:
            case.body["images"] = [IMAGE] * len(case.body["images"])
        if case.body.get("expires_at") is not None:
            case.body["expires_at"] = "2999-12-31T23:59:59Z"
