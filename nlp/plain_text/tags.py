"""The tags of HTML and of C-CDA narrative, by their effect on the plain text."""

from rubricator.nlp.words.tokens import word_set

BOLD_TAGS = word_set("b strong u i em font content")
TITLE_TAGS = word_set("h1 h2 h3 h4 h5 h6 title caption legend dt")
PARAGRAPH_TAGS = word_set("p ul ol list table section body html hr dl pre blockquote paragraph")
LINE_TAGS = word_set("br div li item tr td text dd thead tbody tfoot head header footer")
ITEM_TAGS = word_set("li item")
CELL_TAGS = word_set("th td")
ROW_TAGS = word_set("table tr thead tbody tfoot")  # each of them ends the row before
HIDDEN_TAGS = word_set("script style")
INLINE_TAGS = word_set("span a sup sub small th code img col colgroup center s")
HTML_TAGS = BOLD_TAGS | TITLE_TAGS | PARAGRAPH_TAGS | LINE_TAGS | HIDDEN_TAGS | INLINE_TAGS
BOOLEAN_ATTRIBUTES = word_set(  # those of HTML that need no value
    "async border checked compact controls defer disabled hidden itemscope multiple nohref noresize noshade novalidate "
    "nowrap open readonly required reversed selected"
)
