"""The commands of the checklist exactly as printed. Source: checklist, Post-Deployment."""

from __future__ import annotations

from typing import Final

PRINTED_COMMANDS: Final = {
    "health": "curl https://your-domain.com/api/health",
    "metrics": "curl https://your-domain.com/api/metrics",
    "chat": (
        "curl -X POST https://your-domain.com/api/chat \\\n"
        '  -H "Authorization: Bearer $API_KEY" \\\n'
        """  -d '{"message": "Hello, test"}'"""
    ),
}
