"""Parses mails with Python's `email`, for tests that want a second opinion: files in, one JSON object a line out."""

import email
import email.policy
import json
import sys


def part(one):
    return {
        "type": one.get_content_type(),
        "charset": one.get_content_charset(),
        "encoding": (one["Content-Transfer-Encoding"] or "").lower(),
        "text": one.get_content().replace("\r\n", "\n") if one.get_content_maintype() == "text" else None,
        "defects": [type(defect).__name__ for defect in one.defects],
    }


def addresses(mail, header):
    return [[one.display_name, one.addr_spec] for one in mail[header].addresses]


for name in sys.argv[1:]:
    with open(name, "rb") as file:
        mail = email.message_from_binary_file(file, policy=email.policy.default)
    print(json.dumps({
        "from": addresses(mail, "From"),
        "to": addresses(mail, "To"),
        "subject": mail["Subject"],
        "message_id": mail["Message-ID"].strip("<>"),
        "date": int(mail["Date"].datetime.timestamp()),
        "type": mail.get_content_type(),
        "parts": [part(one) for one in mail.walk() if not one.is_multipart()],
        "defects": [type(defect).__name__ for header in mail.values() for defect in header.defects],
    }))
