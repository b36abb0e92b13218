"""Secrets that are made up and look real, and the files that hold them in tests."""

from __future__ import annotations

import base64
from typing import Final

KEY: Final = "sk-ant-api03-u8Qm2Lx7Vt0RcY5dWk1Zp9Hs3Nf6Bj4Gg-eA7oQw"
OAUTH: Final = "sk-ant-oat01-Kp4Wz8Jr1Td6Xn0Lb5Vc9Mh2Sf7Qg3Ya-uE8iRt"
OPENAI_KEY: Final = "sk-proj-Tn5Bv9Ck2Mz7Xj4Lh8Gf1Dp6Sq3Wr0Ye-aU2oPs"
CUSTOM_KEY: Final = "gw_live_9fK2mV7xQ4tB8nR1cZ6yH3wL5dJ0pS"
TOKEN: Final = "relay-V3b8Yt1Nq6Lk9Xw4Rz7Cj2Hm5Pf0Sd"
OTHER_TOKEN: Final = "relay-Q7n2Gx5Ja0Wb8Kd3Te6Mu1Fv9Zr4Lc"
PROXY_PASSWORD: Final = "Pw-7Hq2Zt9Vk4Nc8"
PROXY_CREDENTIAL: Final = f"corp-relay:{PROXY_PASSWORD}"
QUERY_SECRET: Final = "q-5Rk8Zw2Xn7"
BODY_SECRET: Final = "b-9Tm3Vc6Yh1"
CREDENTIALS: Final = (KEY, OAUTH, OPENAI_KEY, CUSTOM_KEY)
SECRETS: Final = (
    *(*CREDENTIALS, TOKEN, OTHER_TOKEN, QUERY_SECRET, BODY_SECRET, PROXY_PASSWORD),
    base64.b64encode(PROXY_CREDENTIAL.encode()).decode(),
)
FILES: Final = {
    "key": KEY,
    "oauth": OAUTH,
    "openai_key": OPENAI_KEY,
    "custom_key": CUSTOM_KEY,
    "token": TOKEN,
    "other_token": OTHER_TOKEN,
    "proxy": PROXY_CREDENTIAL,
}
