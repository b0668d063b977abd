"""Patterns of the sample, in the form of upstream's flan/templates.py; read as literals, never run."""

PATTERNS = {
    "sample_lighthouse_log": [
        ("From the log of {title}:\n\n{context}\n\n{question}", "{answer}"),
        ("{context}\n\nA question about this entry: {question}\nIn the log's own words:", "{answer}"),
        ('The keeper wrote: "{context}"\n\nAnswer in as few words as you can. {question}', "{answer}"),
        ("{context}\n\nWhich question could a visitor ask about this entry?", "{question}"),
    ],
    "sample_tidy_sentence": [
        ('Would a proofreader leave this sentence as it is?\n"{sentence}"\n{options_}', "{answer}"),
        ("{sentence}\n\nIs this sentence tidy English?\n\n{options_}", "{answer}"),
        ("Sort the sentence into one of the two trays.\nSentence: {sentence}\n{options_}", "{answer}"),
    ],
    "sample_why_then": [
        ("{premise}\n\nWhich of these is the likelier {question}?\n{options_}", "{answer}"),
        ("Something happened: {premise}\nChoose its {question}.\n\n{options_}", "{answer}")- - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - 
        ("What is the {question} of this?\n\n{premise}\n\n{options_}", "{answer}"),
        ("{premise} Name a plausible {question}.", "{answer}"),
        ("Make up what happened, given its {question}: {answer}", "{premise}"),
    ],
}
