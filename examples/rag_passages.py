"""Put retrieved passages into a prompt as Z-spans, closest to the question where it matters, and get them back."""

import zprompt

QUESTION = "When did William Thomson build his machine, and what did it add up?"
PASSAGES = [
    {
        "id": "kelvin-7",
        "score": 0.91,
        "text": "In 1872 William Thomson, later Lord Kelvin, built a machine of wheels and pulleys that added ten "
        "components of the tide and drew the curve of a whole year in four hours. Machines of this kind remained in "
        "use until the 1960s, when computers took their place.",
    },
    {
        "id": "fundy-2",
        "score": 0.55,
        "text": "In the Bay of Fundy, on the Atlantic coast of Canada, the range of the tide reaches 16 metres, since "
        "the bay is just long enough for water to swing back and forth in it with the period of the tide.",
    },
    {
        "id": "neap-1",
        "score": 0.48,
        "text": "When the Sun and the Moon stand at a right angle, as seen from the Earth, the range of the tide is at "
        "its smallest, and sailors speak of a neap tide.",
    },
]

# One ratio for all passages together: those that the question is about keep more. Other fields stay as they are.
result = zprompt.compress(PASSAGES, ratio=5, query=QUESTION)

context = "\n".join(f"[{passage['id']}] {passage['text']}" for passage in result.documents)
prompt = f"Answer from the passages.\n\n{context}\n\nQuestion: {QUESTION}"
print(prompt, end="\n\n")
print(result.stats, end="\n\n")

# A prompt is text with Z-spans in it: decompressing it restores them where they stand.
print(zprompt.decompress(prompt))
