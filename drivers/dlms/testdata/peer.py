"""Seals and opens general-glo-ciphering APDUs with packages from PyPI.

Reads a JSON list of jobs from stdin and writes the list of results to stdout:
{"peer", "do": "seal" or "open", "suite", "security", "title", "counter", "key",
"auth", "data"}, all bytes in hexadecimal digits; a result is such digits too, or
{"error": TEXT}.
"""

import io
import json
import sys
from contextlib import redirect_stdout


def gurux(job):
    from gurux_dlms.AesGcmParameter import AesGcmParameter
    from gurux_dlms.GXByteBuffer import GXByteBuffer
    from gurux_dlms.GXDLMSChippering import GXDLMSChippering
    from gurux_dlms.enums.Security import Security
    from gurux_dlms.objects.enums.SecuritySuite import SecuritySuite

    p = AesGcmParameter(0xDB, bytearray(job["title"]), bytearray(job["key"]), bytearray(job["auth"]))
    p.security = Security(job["security"])
    p.securitySuite = SecuritySuite(job["suite"])
    p.invocationCounter = job["counter"]
    with redirect_stdout(io.StringIO()):  # it talks
        if job["do"] == "seal":
            return bytes(GXDLMSChippering.encryptAesGcm(p, bytearray(job["data"])))
        return bytes(GXDLMSChippering.decryptAesGcm(None, p, GXByteBuffer(bytearray(job["data"]))))


def cosem(job):
    from dlms_cosem.protocol.xdlms import GeneralGlobalCipher
    from dlms_cosem.security import SecurityControlField, encrypt

    if job["do"] == "open":
        apdu = GeneralGlobalCipher.from_bytes(job["data"])
        return apdu.to_plain_apdu(job["key"], job["auth"])
    sc = SecurityControlField(security_suite=job["suite"], authenticated=True, encrypted=True)
    text = encrypt(sc, job["title"], job["counter"], job["key"], job["data"], job["auth"])
    return GeneralGlobalCipher(job["title"], sc, job["counter"], text).to_bytes()


def work(job):
    for field in ("title", "key", "auth", "data"):
        job[field] = bytes.fromhex(job[field])
    try:
        return {"gurux-dlms": gurux, "dlms-cosem": cosem}[job["peer"]](job).hex()
    except Exception as e:
        return {"error": type(e).__name__ + ": " + str(e)}


json.dump([work(job) for job in json.load(sys.stdin)], sys.stdout)
