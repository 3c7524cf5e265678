"""Files, packed files and standard input → rows: what a source is, and how each kind of it is read.

============  ==================================================================
finding       names and folders → sources, in order
streams       a source → bytes that can be looked into before they are read
encodings     which encoding bytes are in, and their text
formats       which kind of file this is, by its content and its name
json_rows     JSON lines, a JSON list, an object that holds rows
tables        CSV and TSV
columnar      Parquet and Arrow
plain         text in files, lines or blocks
documents     HTML, DOCX and PDF as text
rows          a source → its rows, by the reader of its format
============  ==================================================================
"""
